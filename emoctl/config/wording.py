"""How errors spell what stands in a file: values and key paths, on one line."""

from collections.abc import Mapping, Sequence

LONGEST = 60


def shown(value: object) -> str:
    """`value` as the file would say it, printable, on one line and cut where it is long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    if isinstance(value, Mapping) and not value:
        return "no keys"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def key_text(path: Sequence[str | int]) -> str:
    """`steering.strengths[2]` for ("steering", "strengths", 2)."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
