"""YAML as people read it: the 1.2 core schema, one meaning a line, and one line an error.

Only `true` and `false` are booleans (`no`, `off` and `on` stay words), `1e-3` is a number, and
there are no sexagesimal numbers, dates, tags or merge keys. A key that stands twice is an error.
What the keys mean is not known here.
"""

import re
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any

import yaml

from emoctl.config.wording import shown
from emoctl.errors import ConfigError

MAX_ALIASES = 20
MAX_DEPTH = 40
MAX_DIGITS = 400
MAX_CHARACTERS = 2**20

_SCALARS = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first_lines: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _problem(f"the key {shown(key)} is not text", key_node, "put it in quotes")
            line = _line(key_node)
            if key in first_lines:
                what = f"the key {key!r} stands here and in line {first_lines[key]}"
                raise _problem(what, key_node, "keep one of the two")
            first_lines[key] = line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes exactly what `_Loader` would otherwise take for something other than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


class _Problem(yaml.YAMLError):
    def __init__(self, what: str, line: int, hint: str) -> None:
        super().__init__(what)
        self.what, self.line, self.hint = what, line, hint


def _problem(what: str, place: yaml.Node | yaml.Event, hint: str) -> _Problem:
    return _Problem(what, _line(place), hint)


def _line(place: yaml.Node | yaml.Event) -> int:
    mark = place.start_mark
    return 1 if mark is None else int(mark.line) + 1


def _integer(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > MAX_DIGITS:
        raise _problem(f"a number of {len(text)} digits", node, "put it in quotes if it is text")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _float(_: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = node.value.lower()
    return float(
        text.replace(".inf", "inf") if text.endswith("inf") else text.replace(".nan", "nan")
    )


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _kind, _pattern, _first in _SCALARS:
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}",
            re.compile(rf"^(?:{_pattern})$", re.ASCII),
            [*_first, ""] if _kind == "null" else list(_first),
        )


def _list_node(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, dict | list) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


def _decimal_node(dumper: yaml.SafeDumper, value: Decimal) -> yaml.Node:
    text = format(value, "f")
    kind = "float" if "." in text else "int"
    if Decimal(str(float(text))) != value:
        kind = "str"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", text)


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    """Line breaks other than `\\n` would be read back as one, so they are escaped in quotes."""
    escaped = any(c in value for c in "\r\x85\u2028\u2029")
    style = '"' if escaped else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text_node)
_Dumper.add_representer(list, _list_node)
_Dumper.add_representer(Decimal, _decimal_node)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def load_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping that `text` holds; `source` is what errors call it, such as a file name.

    Raises:
        ConfigError: not YAML, not one mapping, a key twice, or built to exhaust memory; the
            message is one line, `SOURCE:LINE: what`.
    """
    value = load_value(text, source)
    if not isinstance(value, dict):
        found = "a list" if isinstance(value, list) else shown(value)
        raise ConfigError(
            f"{source}:1: needs keys and values at the top level, but holds {found}",
            hint="write one `key: value` a line",
        )
    return value


def load_value(text: str, source: str) -> Any:
    """Any one YAML value: what stands right of a `key:`. Raises as `load_yaml` does."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{source}:1: longer than {MAX_CHARACTERS} characters", hint="keep long texts in files"
        )
    try:
        _refuse_bombs(text)
        return yaml.load(text, Loader=_Loader)  # a SafeLoader, closed further
    except yaml.YAMLError as error:
        what, line, hint = _explain(error, text)
    raise ConfigError(f"{source}:{line}: {what}", hint=hint)


def dump_yaml(value: object) -> str:
    """`value` (JSON-like, or Decimals) as YAML that `load_value` reads back equal.

    Keys keep their order; a Decimal is written as a number where a float holds it, else as text.
    """
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )


def line_of(text: str, key_path: Sequence[str | int]) -> int | None:
    """The 1-based line of the key or list item at `key_path`, or of its nearest parent that exists.

    None where not even the first key exists. `text` must be one that `load_yaml` accepts.
    """
    node = yaml.compose(text, Loader=_Loader)
    line = None
    for step in key_path:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return _line(key), value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return _line(item), item
    return None


def _refuse_bombs(text: str) -> None:
    """Hold the parser's events against the limits before anything is built from them."""
    open_anchors: list[str | None] = []
    n_aliases = n_documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            n_documents += 1
            if n_documents > 1:
                raise _problem("a second document begins", event, "keep one document a file")
        elif isinstance(event, yaml.AliasEvent):
            n_aliases += 1
            if n_aliases > MAX_ALIASES:
                what = f"more than {MAX_ALIASES} aliases"
                raise _problem(what, event, "write the repeated parts out")
            if event.anchor in open_anchors:
                raise _problem(
                    f"the alias *{event.anchor} contains itself", event, "write the value out"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            open_anchors.pop()
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                tag = event.tag.replace("tag:yaml.org,2002:", "!!")
                raise _problem(
                    f"the tag {tag} is not read", event, "leave tags out; quote what is text"
                )
            if isinstance(event, yaml.CollectionStartEvent):
                open_anchors.append(event.anchor)
                if len(open_anchors) > MAX_DEPTH:
                    raise _problem(f"nested deeper than {MAX_DEPTH} levels", event, "flatten it")


def _explain(error: yaml.YAMLError, text: str) -> tuple[str, int, str]:
    """What is wrong in one line, where, and what to do."""
    if isinstance(error, _Problem):
        return error.what, error.line, error.hint
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"the character U+{int(error.character):04X} is not allowed", line, "remove it"
    assert isinstance(error, yaml.MarkedYAMLError), error
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    if error.problem and "'\\t'" in error.problem:
        return "a tab stands where spaces are needed", line, "indent with spaces"
    what = " ".join(f"{error.problem or error.context}".split())
    return f"not YAML: {what}", line, "check the indentation, quotes and brackets of this line"
