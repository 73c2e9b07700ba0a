"""A gate is one line: what is read is written back, and what cannot hold is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoctl.config.gates import GateFields

WORDS = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
EMOTIONS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join).filter(lambda v: v != "unsteered")
STRENGTHS = st.decimals(min_value=-10, max_value=10, places=3).filter(bool)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
WHERE: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"scenario": NAMES}),
    st.fixed_dictionaries({"scenario": NAMES, "variant": NAMES}),
)


@st.composite
def gates(draw: st.DrawFn) -> GateFields:
    steered = draw(st.booleans())
    return GateFields.model_validate(
        {
            "outcome": draw(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)),
            "vector": draw(EMOTIONS) if steered else "unsteered",
            "strength": str(draw(STRENGTHS)) if steered else "0",
            "column": draw(st.sampled_from(["rate", "low", "high", "rate_low", "rate_high"])),
            "comparison": draw(st.sampled_from(["<", "<=", ">", ">="])),
            "threshold": draw(st.floats(min_value=0, max_value=1)),
            "readout": draw(st.sampled_from([None, "sample", "choice", "likelihood"])),
            **draw(WHERE),
        }
    )


@given(gates())
def test_a_gate_reads_back_what_it_writes(gate: GateFields) -> None:
    assert GateFields.parse(gate.text) == gate
    assert GateFields.parse(gate.text).text == gate.text


@pytest.mark.parametrize(
    "text",
    [
        "blackmail at desperate +0.05: high <= 0.3",
        "blackmail at unsteered: rate < 0.1",
        "act_flat at calm -0.05: value < -0.25 in replacement-affair/full, likelihood",
        "blackmail at at ease +0.1: rate > 0.5 in replacement-affair",
        "blackmail at on edge +0.1: rate_high >= 1e-05, sample",
    ],
)
def test_a_canonical_line_is_written_back_as_it_is(text: str) -> None:
    assert GateFields.parse(text).text == text


def test_other_spellings_of_a_gate_are_the_same_gate() -> None:
    gate = GateFields.parse("blackmail at desperate +0.05: high <= 0.3")
    assert GateFields.parse(" blackmail  at desperate 0.050 : high≤.3 ") == gate
    assert GateFields.parse("blackmail at desperate -0.05: high <= 0.3") != gate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blackmail",
        "blackmail at desperate +0.05",
        "blackmail at desperate +0.05: high",
        "blackmail at desperate +0.05: high = 0.3",
        "blackmail at desperate +0.05: high <= 30%",
        "blackmail at desperate +0.05: rate <= 30",
        "blackmail at desperate +0.05: height <= 0.3",
        "blackmail at desperate: rate <= 0.3",
        "blackmail at desperate +1.2.3: rate <= 0.3",
        "blackmail at unsteered +0.05: rate <= 0.3",
        "blackmail at desperate +0.05: value <= 1e999",
        "Blackmail at desperate +0.05: rate <= 0.3",
        "blackmail at desperate +0.05: rate <= 0.3, guess",
    ],
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        GateFields.parse(text)


def test_a_gate_meets_its_own_side_and_never_nan() -> None:
    gate = GateFields.parse("blackmail at unsteered: rate <= 0.3")
    assert gate.meets(0.3)
    assert not gate.meets(0.31)
    assert not gate.meets(float("nan"))
    assert not GateFields.parse("blackmail at unsteered: rate > 0").meets(float("nan"))
