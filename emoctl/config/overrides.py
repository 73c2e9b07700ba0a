"""`--set key.path=value`: one key of an experiment file, changed from the command line.

Knows which keys exist, so that a misspelt one is an error before anything is changed; what the
values may be is the schema's to say.
"""

from dataclasses import dataclass
from typing import Any

from emoctl.config.problems import keys_of, section_at, unknown_key_hint
from emoctl.config.schema import SHORTHANDS, ExperimentConfig
from emoctl.config.strict_yaml import load_value
from emoctl.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Override:
    """One `--set` argument, read."""

    argument: str
    """As it was typed, on one line."""

    path: tuple[str, ...]
    value: Any
    """None takes the key out."""


def read_override(argument: str) -> Override:
    """The change that `key.path=value` asks for.

    Raises:
        UsageError: there is no `=` or no value, a key does not exist, or the value is not YAML.
    """
    shown = argument if argument.isprintable() and len(argument) <= 80 else ascii(argument)[:80]
    key, equals, text = argument.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise UsageError(
            f"--set {shown}: needs a key, `=` and a value",
            hint="for example --set sampling.max_new_tokens=64; `null` takes a key out",
        )
    path = tuple(key.strip().split("."))
    for depth, step in enumerate(path):
        section = section_at(ExperimentConfig, path[:depth])
        known = list(keys_of(section)) if section else []
        if step in known:
            continue
        where = ".".join(path[:depth])
        if not known or where == "gates":
            hint = f"set it whole: --set '{where}=…'"
            raise UsageError(f"--set {shown}: {where} has no keys of its own", hint=hint)
        hint = unknown_key_hint(step, section, ExperimentConfig)
        raise UsageError(f"--set {shown}: {key.strip()}: is not a key", hint=hint)
    try:
        return Override(shown, path, load_value(text, "value"))
    except ConfigError as error:
        what = str(error).partition(": ")[2]
        raise UsageError(f"--set {shown}: {what}", hint=error.hint) from None


def apply_override(data: dict[str, Any], override: Override) -> None:
    """Change `data`, the content of an experiment file, as `override` asks."""
    section = data
    *parents, last = override.path
    for depth, step in enumerate(parents):
        below = section.get(step)
        if depth == 0 and isinstance(below, str) and step in SHORTHANDS:
            below = {SHORTHANDS[step]: below}
        elif not isinstance(below, dict):
            below = {}
        section[step] = dict(below)
        section = section[step]
    if override.value is None:
        section.pop(last, None)
    else:
        section[last] = override.value
