"""Model text is hostile, and is shown as characters."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from emoctl.report.inert import inert_html, inert_markdown, inert_terminal

NASTY = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "back\x08\x08space\rcarriage\x00",
    "zero\u200bwidth\ufeff",
    "line\u2028paragraph\u2029",
    "tag\U000e0041",
    "lone \ud800 half",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1)) ![i](http://x.y/z.png)",
    "a | b\n|---|---|\n# head\n- list\n1. one\n> quote\n```\ncode",
    "`code` *bold* _it_ ~~gone~~ <http://x.y> www.x.y https://x.y me@x.y @you #12 $x$",
    "[red]rich[/red] [link=http://x.y]x[/link]",
]


@pytest.mark.parametrize("text", NASTY)
def test_no_hidden_character_reaches_a_terminal(text: str) -> None:
    shown = inert_terminal(text)
    assert all(
        unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for c in shown.replace("\n", "")
    )
    shown.encode("utf-8")


def test_what_was_hidden_is_shown() -> None:
    assert inert_terminal("a\x1b[31mb") == "a\\x1b[31mb"
    assert inert_terminal("\x9b \u202e \U000e0041 \r") == "\\x9b \\u202e \\U000e0041 \\x0d"


@pytest.mark.parametrize("text", ["Dear Kyle,\n\tpay.", "naïve – “quotes” 震 👩‍💻 ‌", "[brackets]"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert inert_terminal(text) == text


@given(st.text())
def test_any_text_is_safe_on_a_terminal_and_shown_twice_the_same(text: str) -> None:
    shown = inert_terminal(text)
    assert inert_terminal(shown) == shown
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_rich_takes_inert_text_literally() -> None:
    sheet = io.StringIO()
    console = Console(file=sheet, width=200, force_terminal=True, color_system="standard")
    text = "[red]rich[/red] \x1b[31m"
    console.print(Text(inert_terminal(text)))
    assert sheet.getvalue() == "[red]rich[/red] \\x1b[31m\n"


@pytest.mark.parametrize("text", NASTY)
def test_html_holds_no_markup(text: str) -> None:
    shown = inert_html(text)
    assert not set("<>\"'") & set(shown)
    shown.encode("utf-8")


def test_html_escapes_the_ampersand_once() -> None:
    assert inert_html("a & <b>") == "a &amp; &lt;b&gt;"


@pytest.mark.parametrize("text", NASTY)
def test_markdown_holds_no_markup_and_no_line_end(text: str) -> None:
    shown = inert_markdown(text)
    assert "\n" not in shown
    entities_out = shown.replace("&#", "").replace(";", "")
    assert not set("|`*_[]<>()!~$@#:./\\") & set(entities_out)


def test_markdown_shows_the_same_words() -> None:
    import html

    shown = html.unescape(inert_markdown("a | <b>\n@you"))
    assert shown.replace("\u200b", "") == "a | <b> ⏎ @you"
    assert "@\u200byou" in shown
