"""A strength is exactly what was written, and a range holds both of its ends."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emoctl.config.strengths import (
    LARGEST,
    MAX_SCALES,
    parse_scales,
    parse_strength,
    strength_text,
)
from emoctl.errors import UsageError

STRENGTHS = st.decimals(min_value=-LARGEST, max_value=LARGEST, places=4)


@given(st.lists(STRENGTHS, min_size=1, max_size=20, unique=True))
def test_a_list_reads_back_what_was_written(strengths: list[Decimal]) -> None:
    text = ",".join(strength_text(s) for s in strengths)
    assert parse_scales(text) == tuple(strengths)


@given(STRENGTHS, STRENGTHS.filter(bool), st.integers(min_value=0, max_value=MAX_SCALES - 1))
def test_a_range_is_exact_and_holds_both_ends(first: Decimal, step: Decimal, n: int) -> None:
    last = first + n * step
    assume(abs(last) <= LARGEST)
    scales = parse_scales(":".join(map(strength_text, (first, last, step))))
    assert scales == tuple(first + i * step for i in range(n + 1))
    assert all(scale == parse_strength(strength_text(scale)) for scale in scales)


def test_decimal_ranges_end_where_binary_fractions_would_not() -> None:
    assert parse_scales("-0.1:0.3:0.1")[-1] == Decimal("0.3")
    assert -0.1 + 4 * 0.1 != 0.3  # control: floats miss the end


@given(STRENGTHS)
def test_a_strength_has_one_spelling(strength: Decimal) -> None:
    spellings = {strength_text(parse_strength(s)) for s in (strength, str(strength), f"{strength}")}
    assert spellings == {strength_text(strength)}
    assert "E" not in spellings.pop()


def test_zero_and_minus_zero_are_one_strength() -> None:
    assert parse_scales("-0") == (Decimal(0),)
    assert strength_text(parse_strength("-0.00")) == "0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "0.05,",
        "5%",
        "0.05 norm",
        "0,05x",
        "nan",
        "inf",
        "1_0",
        "−0.05",
        "٣",
        "11",
        "0.0000000001",
        "0.05,0.050",
        "0:1",
        "0:1:",
        "0:1:0",
        "0:1:0.3",
        "0:1:-0.5",
        "0:1:0.001",
        "0:0.1:0.1,0.1",
        "a:b:c",
        "0:10:0.000000001",
        "1e99",
        "true",
    ],
)
def test_what_is_no_list_of_strengths_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scales(text)
    assert str(caught.value).startswith(f"--scale {text!r} ")
    assert len(str(caught.value).splitlines()) == 1


def test_the_most_strengths_are_accepted_and_one_more_is_not() -> None:
    assert len(parse_scales("0:1:0.01")) == MAX_SCALES
    with pytest.raises(UsageError, match="more than 101"):
        parse_scales("0:1.01:0.01")
    with pytest.raises(UsageError, match="more than 101"):
        parse_scales("0:1:0.01,2")
