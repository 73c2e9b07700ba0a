"""The outcome table: counts that add up, rates with denominators, values from scores."""

from math import exp, inf
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoctl.analysis.outcomes import COLUMNS, outcome_table
from emoctl.analysis.sampled import cell_rollouts, cells_table
from emoctl.errors import UsageError


def line(frame: pd.DataFrame, **where: object) -> Any:
    """The only line that fits."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_a_rate_is_among_scored_rollouts_and_has_bounds_over_all(planted: ModuleType) -> None:
    data = planted.run(
        [planted.UNSTEERED], rows=planted.rollouts(planted.UNSTEERED, "bbbdnnnnniittu")
    )
    frame = outcome_table(data)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["outcome"]) == ["blackmail", "disclosure", "none"]
    row = line(frame, outcome="blackmail")
    assert (row.k, row.n_total, row.n_scored) == (3, 14, 9)
    assert (row.n_incoherent, row.n_truncated, row.n_unscored) == (2, 2, 1)
    assert row.rate == pytest.approx(3 / 9)
    assert (row.rate_low, row.rate_high) == pytest.approx((3 / 14, 8 / 14))
    assert pd.isna(row.value)


def test_a_rate_of_nothing_is_unknown(planted: ModuleType) -> None:
    data = planted.run([planted.UNSTEERED], rows=planted.rollouts(planted.UNSTEERED, "iittu"))
    row = line(outcome_table(data), outcome="blackmail")
    assert row.k == 0
    assert row[["rate", "low", "high"]].isna().all()
    assert (row.rate_low, row.rate_high) == (0, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(letters=st.text("bdnitu", min_size=1, max_size=30))
def test_counts_add_up_and_bounds_hold_the_rate(planted: ModuleType, letters: str) -> None:
    data = planted.run([planted.UNSTEERED], rows=planted.rollouts(planted.UNSTEERED, letters))
    frame = outcome_table(data)
    assert set(frame["n_total"]) == {len(letters)}
    first = frame.iloc[0]
    assert frame["k"].sum() == first.n_scored
    aside = first.n_incoherent + first.n_truncated + first.n_unscored
    assert first.n_scored + aside == first.n_total
    assert (frame["rate_low"] <= frame["rate_high"]).all()
    known = frame.dropna(subset=["rate"])
    assert len(known) == (len(frame) if first.n_scored else 0)
    assert (known["rate_low"] <= known["rate"] + 1e-12).all()
    assert (known["rate"] <= known["rate_high"] + 1e-12).all()
    assert ((known["low"] <= known["rate"]) & (known["rate"] <= known["high"])).all()


def test_likelihood_values_are_nats_a_token(planted: ModuleType) -> None:
    levels = {"threat": -3.0, "plea": -2.5, "accept": -1.0}

    def level(act: str, register: str, s: int) -> float:
        return levels[act] - 0.2 * s + (0.3 if register == "emotional" else 0.0)

    frames = [
        outcome_table(
            planted.run(
                [planted.UNSTEERED],
                scores=planted.likelihoods(planted.UNSTEERED, level, n_tokens=n),
            )
        )
        for n in (1, 50)
    ]
    frame = frames[0]
    assert line(frame, outcome="threat_flat").value == pytest.approx(-3.3)
    assert line(frame, outcome="threat_vs_plea_flat").value == pytest.approx(-0.5)
    assert line(frame, outcome="threat_vs_accept_emotional").value == pytest.approx(-2.0)
    register = line(frame, outcome="register")
    assert register.value == pytest.approx(0.3)
    assert register.value_low == pytest.approx(0.3)
    assert line(frame, outcome="threat_flat").value_low < -3.3
    assert pd.isna(register.k)
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.parametrize("spoilt", ["absent", "infinite"])
def test_a_value_with_a_missing_score_is_unknown(planted: ModuleType, spoilt: str) -> None:
    scores = planted.likelihoods(
        planted.UNSTEERED,
        lambda a, r, s: -inf if (a, r, s, spoilt) == ("plea", "flat", 1, "infinite") else -2.0,
    )
    if spoilt == "absent":
        scores = [s for s in scores if s.item != "s01/plea/flat"]
    frame = outcome_table(planted.run([planted.UNSTEERED], scores=scores))
    unknown = set(frame.loc[frame["value"].isna(), "outcome"])
    assert unknown == {"threat_vs_plea_flat", "plea_flat", "register"}


def test_choice_values_are_shares_that_cancel_position(planted: ModuleType) -> None:
    """The first option shown gets +1 nat: averaged over both orders it favours none."""
    scores = planted.choices(
        planted.UNSTEERED,
        {
            "blackmail>none": {"blackmail": -2.0, "none": -3.0},
            "none>blackmail": {"blackmail": -3.0, "none": -2.0},
        },
    )
    frame = outcome_table(planted.run([planted.UNSTEERED], scores=scores))
    assert line(frame, outcome="blackmail").value == pytest.approx(0.5)
    assert line(frame, outcome="none").value == pytest.approx(0.5)
    assert line(frame, outcome="option_mass").value == pytest.approx(exp(-2) + exp(-3))


def test_a_choice_without_one_of_its_orders_is_unknown(planted: ModuleType) -> None:
    scores = planted.choices(
        planted.UNSTEERED, {"blackmail>none": {"blackmail": -2.0, "none": -3.0}}
    )
    frame = outcome_table(planted.run([planted.UNSTEERED], scores=scores))
    assert set(frame["outcome"]) == {"blackmail", "none", "option_mass"}
    assert frame["value"].isna().all()


def test_every_cell_leads_to_its_rollouts(planted: ModuleType) -> None:
    rows = planted.rollouts(planted.UNSTEERED, "bnbiu")
    data = planted.run([planted.UNSTEERED], rows=list(reversed(rows)))
    cell = {"scenario": "affair", "variant": "full", "condition_id": planted.UNSTEERED.id}
    assert cell_rollouts(data, **cell, outcome="blackmail") == [rows[0].id, rows[2].id]
    assert cell_rollouts(data, **cell, outcome="unscored") == [rows[4].id]
    assert cell_rollouts(data, **cell) == [r.id for r in rows]
    assert cell_rollouts(data, **{**cell, "variant": "short"}) == []
    table = cells_table(data)
    assert table["n"].sum() == 5
    assert line(table, outcome="blackmail").rollouts == f"{rows[0].id} {rows[2].id}"
    assert line(table, outcome="truncated").rollouts == ""
    with pytest.raises(UsageError, match="no outcome 'blackmial'") as found:
        cell_rollouts(data, **cell, outcome="blackmial")
    assert found.value.hint == "did you mean 'blackmail'?"


def test_lines_follow_the_order_of_the_config_not_of_the_rows(planted: ModuleType) -> None:
    conditions = [planted.condition(v, s) for v in ("calm", "desperate") for s in ("0.05", "-0.1")]
    conditions += [*planted.controls(2), planted.UNSTEERED]
    rows = [r for c in conditions for r in planted.rollouts(c, "bn")]
    frames = [
        outcome_table(planted.run(order, rows=shuffled))
        for order, shuffled in ((conditions, rows), (conditions[::-1], rows[::-1]))
    ]
    pd.testing.assert_frame_equal(*frames)
    cells = frames[0].drop_duplicates("condition_id")
    assert list(zip(cells["vector"], cells["strength"], strict=True)) == [
        ("unsteered", 0),
        ("desperate", -0.1),
        ("desperate", 0.05),
        ("calm", -0.1),
        ("calm", 0.05),
        ("shuffled-00", 0.05),
        ("random-01", 0.05),
    ]


def test_an_empty_run_has_an_empty_table_of_the_same_types(planted: ModuleType) -> None:
    empty = outcome_table(planted.run([]))
    filled = outcome_table(
        planted.run([planted.UNSTEERED], rows=planted.rollouts(planted.UNSTEERED, "bn"))
    )
    assert len(empty) == 0 < len(filled)
    assert dict(empty.dtypes) == dict(filled.dtypes)
