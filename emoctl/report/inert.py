"""Text that a model wrote, made harmless for the place where it is shown.

Model text is hostile: it may hold escape sequences, right-to-left overrides, markup, links. These
functions take all of it as characters to be read. Standard library only: anyone may import this.
"""

import html
import re
import string
import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d")
"""Format characters that ordinary text needs: line ends, tabs, joiners."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a reader cannot see, or that move what he sees."""

_MARKUP = re.compile(r"([\\`*\[\]<>|~#])")
_PUNCTUATION = {ord(c): f"&#{ord(c)};" for c in string.punctuation}
_PUNCTUATION |= {ord(c): f"&#{ord(c)};&#8203;" for c in "@#"}
"""Entities are never markup; the zero-width space keeps @names and #numbers from being linked."""


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def inert_terminal(text: str) -> str:
    """`text` without a character that a terminal obeys: those are shown as `\\x1b`, `\\u202e`.

    Square brackets stay: print the result as a `rich.text.Text`, or with `markup=False`.
    """
    return "".join(map(_shown, text))


def inert_html(text: str) -> str:
    """`text` as HTML character data, in an element or in a quoted attribute."""
    return html.escape(inert_terminal(text), quote=True)


def plain_markdown(text: str) -> str:
    """A name or our own words as one line of Markdown: a name may hold a pipe or a bracket."""
    return _MARKUP.sub(r"\\\1", inert_terminal(text)).replace("\n", " ")


def inert_markdown(text: str) -> str:
    """`text` as one line of Markdown that holds no markup, no link and no HTML.

    Line ends are shown as ⏎, so that it fits a table cell.
    """
    return inert_terminal(text).translate(_PUNCTUATION).replace("\t", " ").replace("\n", " ⏎ ")
