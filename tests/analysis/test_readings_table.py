"""The table of readings says what was planted; what it cannot tell is empty."""

from dataclasses import replace
from math import isnan, nan, sqrt
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from emoctl.analysis.reading_means import reading_means, rollout_means
from emoctl.analysis.readings import COLUMNS, over_rollouts, readings_table
from emoctl.analysis.results import analyse
from emoctl.store.records import ProbeRecord, ReadingsRecord, RolloutRecord

PROBE = ProbeRecord(("desperate", "calm"), (11, 12, 20), False, "sha256:00")
LEVELS = {"unsteered": 0.0, "desperate": 0.25}


def record(rollout: RolloutRecord, cosines: Any, first: int = -1) -> ReadingsRecord:
    values = np.asarray(cosines, "<f2")
    norms = np.full(values.shape[:2], 30, "<f4")
    tokens = ("x",) * len(values)
    return ReadingsRecord(
        rollout.id, first, values.shape, values.tobytes(), norms.tobytes(), tokens
    )


def planted_readings(rollout: RolloutRecord, level: float, first: int = -1) -> ReadingsRecord:
    """`desperate` reads `level` in the response, a little more in rollout 1, `calm` −level; at the
    prompt's end half of it; layer 11 reads 0. Responses differ in length."""
    n_tokens = 3 + 4 * rollout.rollout
    values = np.zeros((n_tokens - first, 3, 2))
    values[: -first - 1] = 0.875  # the prompt before its last token: in no mean
    values[-first - 1, 1:] = (level / 2, -level / 2)
    values[-first:, 1:] = (level + 0.125 * (rollout.rollout == 1), -level)
    return record(rollout, values, first)


def run(planted: ModuleType, first: int = -1, **changed: Any) -> Any:
    steered = planted.condition("desperate", "0.05")
    rows, read = [], []
    for condition in (planted.UNSTEERED, steered):
        made = planted.rollouts(condition, "bn" if condition is steered else "bnt")
        rows += made
        read += [planted_readings(r, LEVELS[condition.vector], first) for r in made]
    data = planted.run([planted.UNSTEERED, steered], rows=rows)
    return replace(data, readings=reading_means(PROBE, changed.get("read", read)))


def line(table: pd.DataFrame, vector: str, emotion: str, layer: int) -> Any:
    chosen = (table["vector"] == vector) & (table["emotion"] == emotion)
    (found,) = table[chosen & (table["layer"] == layer)].itertuples()
    return found


@pytest.mark.parametrize("first", [-1, -5])
def test_planted_levels_are_found(planted: ModuleType, first: int) -> None:
    table = readings_table(run(planted, first))
    assert table is not None
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 3
    found = line(table, "desperate", "desperate", 12)
    assert (found.n_rollouts, found.n_tokens, found.n_pairs) == (2, 3 + 7, 2)
    assert found.response == pytest.approx(0.25 + 0.125 / 2), "each rollout counts once"
    assert found.response != pytest.approx(0.25 + 0.125 * 7 / 10), "control: not each token"
    assert found.prompt_end == pytest.approx(0.125)
    assert found.prompt_end_difference == pytest.approx(0.125)
    assert found.difference == pytest.approx(0.25)
    assert line(table, "desperate", "calm", 20).difference == pytest.approx(-0.25)
    assert line(table, "desperate", "desperate", 11).difference == 0
    before = line(table, "unsteered", "desperate", 12)
    assert (before.n_rollouts, before.n_tokens, before.n_pairs) == (3, 3 + 7 + 11, 0)
    assert isnan(before.difference) and isnan(before.prompt_end_difference)


def test_pairing_takes_out_what_rollouts_share(planted: ModuleType) -> None:
    table = readings_table(run(planted))
    assert table is not None
    found = line(table, "desperate", "desperate", 12)
    assert (found.difference_low, found.difference_high) == pytest.approx((0.25, 0.25))
    assert found.response_high - found.response_low > 0.5, "control: rollouts do differ"


def test_the_place_of_a_layer_is_told(planted: ModuleType) -> None:
    table = readings_table(run(planted))
    assert table is not None
    places = {line(table, "desperate", "calm", layer).place for layer in PROBE.layers}
    assert [line(table, "desperate", "calm", n).place for n in (11, 12, 20)] == [
        "below",
        "at",
        "above",
    ]
    assert {line(table, "unsteered", "calm", layer).place for layer in PROBE.layers} == {""}
    assert len(places) == 3


def test_the_interval_is_students_t() -> None:
    values = [np.array([x]) for x in (0.1, 0.3, 0.2, 0.6)]
    found = over_rollouts(values, (1,), 0.9)
    numbers = np.array([0.1, 0.3, 0.2, 0.6])
    low, high = student.interval(0.9, 3, numbers.mean(), numbers.std(ddof=1) / sqrt(4))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))
    wider = over_rollouts(values, (1,), 0.99)
    assert wider.high[0] > found.high[0]


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    drawn = [rng.normal(0.2, 0.1, 4000) for _ in range(5)]
    found = over_rollouts(drawn, (4000,), 0.9)
    assert ((found.low < 0.2) & (found.high > 0.2)).mean() == pytest.approx(0.9, abs=0.02)


def test_of_one_rollout_there_is_no_interval_and_of_none_no_mean() -> None:
    one = over_rollouts([np.array([0.5, nan])], (2,), 0.95)
    assert one.mean[0] == 0.5 and isnan(one.low[0]) and isnan(one.high[0])
    assert isnan(one.mean[1]) and list(one.n) == [1, 0]
    none = over_rollouts([], (2,), 0.95)
    assert np.isnan(none.mean).all() and np.isnan(none.low).all()


def test_a_token_without_a_reading_is_left_out_and_not_zero(planted: ModuleType) -> None:
    (rollout,) = planted.rollouts(planted.UNSTEERED, "b")
    values = np.full((4, 3, 2), 0.5)
    values[2, 1] = nan
    found = rollout_means(record(rollout, values))
    assert found.n_tokens.tolist() == [3, 2, 3]
    assert (found.over_response == 0.5).all()
    counted_as_zero = np.nan_to_num(values[1:]).mean(axis=0)
    assert not np.allclose(found.over_response, counted_as_zero), "control"


def test_a_response_of_one_token_has_no_mean(planted: ModuleType) -> None:
    """The only token that is written is never fed to the model."""
    steered = planted.condition("desperate", "0.05")
    rows = planted.rollouts(planted.UNSTEERED, "bb") + planted.rollouts(steered, "bb")
    read = [record(r, np.full((1, 3, 2), 0.25)) for r in rows]
    data = planted.run([planted.UNSTEERED, steered], rows=rows)
    table = readings_table(replace(data, readings=reading_means(PROBE, read)))
    assert table is not None
    found = line(table, "desperate", "calm", 12)
    assert (found.n_rollouts, found.n_tokens, found.n_pairs) == (0, 0, 0)
    assert isnan(found.response) and isnan(found.difference)
    assert found.prompt_end == 0.25


def test_without_readings_there_is_no_table(planted: ModuleType) -> None:
    rows = planted.rollouts(planted.UNSTEERED, "bn")
    results = analyse(planted.run([planted.UNSTEERED], rows=rows))
    assert results.readings is None and "readings" not in results.frames
    assert "readings" in analyse(run(planted)).frames
