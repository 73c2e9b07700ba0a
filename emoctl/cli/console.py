"""Where the program's words go: data to stdout, chatter to stderr, and neither does harm.

Off a terminal a line is a line: no colour codes, no wrapping. What a model wrote passes through
`safe` before it is shown. Nothing here knows what is being shown.
"""

import json
import math
import os
import sys
import unicodedata
from typing import TextIO

from rich.console import Console

WIDTH_OFF_TERMINAL = 200
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, hide, or reorder text."""


def out() -> Console:
    """The console for results: stdout. Markup such as `[bold]` is never read in what it prints."""
    return _console(sys.stdout)


def err() -> Console:
    """The console for progress, advice and errors: stderr."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    on_terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if on_terminal else _width(),
        soft_wrap=not on_terminal,
        force_terminal=on_terminal,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() else 0
    return width or WIDTH_OFF_TERMINAL


def safe(text: str) -> str:
    """`text` made inert for a terminal: control, invisible and reordering characters spelt out.

    ESC becomes `\\x1b`, a right-to-left override `\\u202e`; line breaks and tabs stay.
    """
    return "".join(_spelt(c) if _harmful(c) else c for c in text)


def one_line(text: str) -> str:
    """`text` made inert, and on one line."""
    return safe(" ".join(text.split()))


def _harmful(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in HIDDEN


def _spelt(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_line(text: str = "") -> None:
    """One line (or more) of results on stdout, inert and as it is."""
    sys.stdout.write(safe(text) + "\n")


def print_json(document: object) -> None:
    """`document` as the one JSON value on stdout: ASCII, NaN and infinities as null."""
    sys.stdout.write(json.dumps(_finite(document), indent=2, allow_nan=False, default=str) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def note(text: str) -> None:
    """One line of chatter on stderr."""
    sys.stderr.write(one_line(text) + "\n")


def next_step(command: str) -> None:
    """The command that a person most likely wants now, on stderr."""
    note(f"next: {command}")


def show_error(message: str, hint: str | None = None) -> None:
    """`error: …` and, where there is advice, `hint:  …`: one line each on stderr."""
    sys.stderr.write(f"error: {one_line(message)}\n")
    if hint:
        sys.stderr.write(f"hint:  {one_line(hint)}\n")
