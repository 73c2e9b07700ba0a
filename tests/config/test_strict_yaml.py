"""YAML means one thing: words stay words, numbers stay numbers, and bombs are refused."""

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emoctl.config.strict_yaml import (
    MAX_ALIASES,
    MAX_DEPTH,
    dump_yaml,
    line_of,
    load_value,
    load_yaml,
)
from emoctl.errors import ConfigError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["no", "off", "1e5", "0o17", "12:30:45", "2026-01-01", "<<", "=", "1_0", "~"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(VALUES)
def test_what_is_dumped_loads_back_equal(value: object) -> None:
    loaded = load_value(dump_yaml(value), "f.yaml")
    assert loaded == value
    assert repr(loaded) == repr(value)


@given(VALUES)
def test_what_pyyaml_dumps_in_quotes_loads_back_equal(value: object) -> None:
    """Strings alone are quoted: PyYAML's own dumper leaves those plain that 1.1 takes for text."""
    text = yaml.dump(value, Dumper=_Quoting, allow_unicode=True)
    assert load_value(text, "f.yaml") == value


class _Quoting(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("true", True),
        ("false", False),
        ("1e-3", 0.001),
        ("1e5", 100000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("٣", "٣"),
        ("null", None),
        ("~", None),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, meant: object) -> None:
    loaded = load_yaml(f"key: {text}", "f.yaml")["key"]
    assert (loaded, type(loaded)) == (meant, type(meant))


def test_pyyaml_alone_reads_some_of_them_otherwise() -> None:
    """Control: the rows above are not what any YAML reader would say."""
    assert yaml.safe_load("[no, 1e5, 010, '1', 12:30:45]") == [False, "1e5", 8, "1", 45045]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' stands here and in line 1"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3: the key 'b' stands here and in line 2"),
        ("a:\n\tb: 1\n", "f.yaml:2: a tab stands where spaces are needed"),
        ("a: !!int '1'\n", "f.yaml:1: the tag !!int is not read"),
        ("a: &x {b: *x}\n", "f.yaml:1: the alias *x contains itself"),
        ("true: 1\n", "f.yaml:1: the key true is not text"),
        ("a: " + "9" * 5000, "f.yaml:1: a number of 5000 digits"),
    ],
)
def test_an_error_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "f.yaml")
    assert str(caught.value) == message
    assert caught.value.hint


def test_aliases_and_depth_have_limits_and_work_below_them() -> None:
    def aliased(n: int) -> str:
        return f"a: &x [1]\nb: [{', '.join(['*x'] * n)}]\n"

    def nested(depth: int) -> str:
        return "a: " + "[" * depth + "]" * depth

    assert len(load_yaml(aliased(MAX_ALIASES), "f.yaml")["b"]) == MAX_ALIASES
    assert load_yaml(nested(MAX_DEPTH - 1), "f.yaml")
    for text in (aliased(MAX_ALIASES + 1), nested(MAX_DEPTH), nested(100_000)):
        with pytest.raises(ConfigError):
            load_yaml(text, "f.yaml")


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        load_yaml(text, "f.yaml")
    except ConfigError as error:
        assert str(error).startswith("f.yaml:")
        assert len(str(error).splitlines()) == 1


def test_a_line_is_found_for_a_key_its_item_and_its_nearest_parent() -> None:
    text = "# first\na:\n  b:\n    - 1\n    - 2\nc: 3\n"
    assert line_of(text, ["a", "b", 1]) == 5
    assert line_of(text, ["c"]) == 6
    assert line_of(text, ["a", "missing"]) == 2
    assert line_of(text, ["a", "b", 7]) == 3
    assert line_of(text, ["missing"]) is None


def test_a_decimal_is_written_as_a_number_unless_a_float_would_change_it() -> None:
    long = Decimal("0.12345678901234567890123")
    assert dump_yaml([Decimal("-0.05"), long]) == f"[-0.05, '{long}']\n"
