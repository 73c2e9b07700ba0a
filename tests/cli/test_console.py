"""What is shown is inert, plain off a terminal, and goes to the stream that it belongs to."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoctl.cli import console


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = console.safe(text)
    left = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert left <= {"\n", "\t"}
    shown.encode("utf-8")


def test_harmless_text_is_left_alone_and_harm_is_spelt_out() -> None:
    assert console.safe("naïve [bold]日本[/bold] 🙂\n\tx") == "naïve [bold]日本[/bold] 🙂\n\tx"
    assert console.safe("\x1b[2J\x9b\u202e\r\U000e0041") == r"\x1b[2J\x9b\u202e\x0d\U000e0041"


def test_markup_is_never_read(capsys: pytest.CaptureFixture[str]) -> None:
    console.out().print("[red]x[/red] [link=http://a]b :smile:")
    assert capsys.readouterr().out == "[red]x[/red] [link=http://a]b :smile:\n"


def test_off_a_terminal_a_line_stays_one_line_without_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = "word " * 100 + "end"
    console.out().print(long, style="bold red")
    console.err().print("chatter")
    captured = capsys.readouterr()
    assert captured.out == long + "\n"
    assert captured.err == "chatter\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_colour_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = {}
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        terminal = _Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        console.out().print("x", style="red")
        shown[no_color] = terminal.getvalue()
    assert "\x1b[31m" in shown[""]
    assert "\x1b[31m" not in shown["1"]


def test_columns_sets_the_width_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert console.out().width == 120
    for unusable in ("", "0", "wide"):
        monkeypatch.setenv("COLUMNS", unusable)
        assert console.out().width == 200


def test_json_is_one_document_with_null_for_what_is_no_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.print_json({"rate": float("nan"), "rows": (1, float("inf")), "text": "\x1b\u202e"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"rate": None, "rows": [1, None], "text": "\x1b\u202e"}
    assert out.isascii()
    assert "\x1b" not in out


def test_an_error_is_two_lines_whatever_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error("a\nb\x1b[0m", "c\n\nd")
    assert capsys.readouterr().err == "error: a b\\x1b[0m\nhint:  c d\n"
