"""What is wrong with a config, in one line: which key, what it needs, what it got.

pydantic finds every fault at once, and names the branches of its own types in them; a person
mends one key at a time, by the words that stand in the file. Where the file came from is not
known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from emoctl.config.strict_yaml import dump_yaml
from emoctl.config.wording import key_text, shown
from emoctl.errors import did_you_mean

KeyPath = tuple[str | int, ...]
REQUIRED_EXAMPLES: dict[KeyPath, object] = {
    ("schema",): "emoctl/1",
    ("readouts",): {"sample": {"n": 20}},
    ("readouts", "sample"): {"n": 20},
    ("readouts", "choice"): {"variants": "all"},
    ("readouts", "likelihood"): {"variants": "all"},
    ("gates",): ["blackmail at desperate +0.05: high <= 0.3"],
}
NEEDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "model_type": "keys of its own",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}",
    "string_too_long": "at most {max_length} characters",
}
PATTERNS = {
    "name": "lower-case letters, digits and hyphens",
    "outcome": "lower-case letters, digits and underscores",
}


@dataclass(frozen=True)
class Problem:
    """One fault of a config."""

    path: KeyPath
    """Keys and list positions, from the top."""

    what: str
    hint: str | None

    @property
    def key(self) -> str:
        """The path as a person writes it, `steering.strengths[2]`."""
        return key_text(self.path)


def first_problem(error: ValidationError, data: object, model: type[BaseModel]) -> Problem:
    """The fault to mend first, an unknown key before any other; its hint counts the rest."""
    faults: dict[KeyPath, list[Any]] = {}
    found = error.errors(include_url=False)
    for fault in sorted(found, key=lambda fault: fault["type"] != "extra_forbidden"):
        faults.setdefault(_path(fault, data), []).append(fault)
    path, branches = next(iter(faults.items()))
    hint = _hint(path, branches[0], model)
    path, what = _narrowed(path, _what(path, branches), model)
    n_more = sum(other[: len(path)] != path and path[: len(other)] != other for other in faults)
    if n_more:
        more = "1 more key needs mending" if n_more == 1 else f"{n_more} more keys need mending"
        hint = f"{hint}; {more}" if hint else more
    return Problem(path=path, what=what, hint=hint)


def _narrowed(path: KeyPath, what: str, model: type[BaseModel]) -> tuple[KeyPath, str]:
    """The key that a section's own check begins its message with, moved into the path."""
    word, _, rest = what.partition(" ")
    if path and word == path[-1]:
        return path, rest
    below = tuple(word.split("."))
    section = section_at(model, (*path, *below[:-1]))
    return ((*path, *below), rest) if section and below[-1] in keys_of(section) else (path, what)


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """What a section may say: each key as it stands in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def section_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The section at `path` below `model`; None where a plain value stands there."""
    section: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int):
            continue
        field = keys_of(section).get(step) if section else None
        section = _section_in(field.annotation) if field else None
    return section


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg))), None)


def _path(fault: Mapping[str, Any], data: Any) -> KeyPath:
    """Where the fault lies in the file: pydantic's path without the branches of its types."""
    path: list[str | int] = []
    for step in fault["loc"]:
        if _has(data, step):
            data = data[step]
            path.append(step)
            continue
        if isinstance(data, Mapping) and fault["type"] == "missing":
            path.append(step)
        break
    return tuple(path)


def _has(data: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(data, list) and step < len(data)
    return isinstance(data, Mapping) and step in data


def _what(path: KeyPath, branches: Sequence[Mapping[str, Any]]) -> str:
    fault = branches[0]
    if fault["type"] == "extra_forbidden":
        return "is not a key"
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "string_pattern_mismatch":
        last = next((step for step in reversed(path) if isinstance(step, str)), "")
        needs = [PATTERNS.get(last, "text without space at its ends")]
    else:
        # a list whose every entry is wrong counts as empty, which it is not
        needs = [_needs(b) for b in branches if not (b["type"] == "too_short" and b["input"])]
    return f"needs {' or '.join(dict.fromkeys(needs))}; got {shown(fault['input'])}"


def _needs(fault: Mapping[str, Any]) -> str:
    template = NEEDS.get(fault["type"])
    if template is None:
        return str(fault["msg"]).removeprefix("Input should be ")
    return template.format(**fault.get("ctx", {}))


def _hint(path: KeyPath, fault: Mapping[str, Any], model: type[BaseModel]) -> str | None:
    if fault["type"] == "extra_forbidden":
        section = section_at(model, path[:-1])
        return unknown_key_hint(str(path[-1]), section, model)
    keys = tuple(step for step in path if isinstance(step, str))
    if not keys:
        return None
    example = _example(keys, model)
    if example is not None:
        return f"for example `{keys[-1]}: {flow_text(example)}`"
    section = section_at(model, path) if fault["type"] == "model_type" else None
    return f"keys here: {', '.join(keys_of(section))}" if section else None


def unknown_key_hint(key: str, section: type[BaseModel] | None, model: type[BaseModel]) -> str:
    """The nearest key of `section`, or the section that does have `key`, or the keys there are."""
    known = list(keys_of(section)) if section else []
    listing = f"keys here: {', '.join(known)}"
    for name in keys_of(model):
        other = section_at(model, (name,))
        if other and other is not section and key in keys_of(other):
            listing = f"it stands under `{name}:`"
    return did_you_mean(key, known, listing=listing)


def _example(keys: KeyPath, model: type[BaseModel]) -> object:
    if keys in REQUIRED_EXAMPLES:
        return REQUIRED_EXAMPLES[keys]
    section = section_at(model, keys[:-1])
    field = keys_of(section).get(str(keys[-1])) if section else None
    if field is None or isinstance(field.default, BaseModel):
        return None
    if field.examples:
        return field.examples[0]
    return None if field.is_required() else field.default


def flow_text(value: object) -> str:
    """`value` as YAML on one line: `[0.05, 0.1]`, `{n: 20}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    return dump_yaml(value).removesuffix("\n").removesuffix("\n...")
