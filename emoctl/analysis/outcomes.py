"""tables/outcomes.csv: what was seen in each cell, before anything is compared.

A sampled cell has a rate among its scored rollouts, a Wilson interval, and the worst and best case
over all its rollouts. An exact cell has a value and a bootstrap interval. A rate of nothing is
NaN, never 0.
"""

from collections.abc import Iterator
from math import nan

import pandas as pd

from emoctl.analysis.exact import ExactGrid, exact_grid
from emoctl.analysis.frames import Row, typed_frame
from emoctl.analysis.intervals import crossed_bootstrap, generator, wilson
from emoctl.analysis.run_data import READOUTS, RunData
from emoctl.analysis.sampled import UNSCORED, Cell, acts, sampled_cells
from emoctl.store.records import ConditionRecord

COUNTS = ("k", "n_total", "n_scored", "n_incoherent", "n_truncated", "n_unscored")
FIGURES = ("rate", "low", "high", "rate_low", "rate_high", "value", "value_low", "value_high")
KEYS = ("scenario", "variant", "readout", "vector", "control", "strength", "outcome")
COLUMNS = (*KEYS, *COUNTS, *FIGURES, "condition_id")
TYPES = {**dict.fromkeys(COUNTS, "Int64"), **dict.fromkeys(("strength", *FIGURES), "float64")}


def keys(
    scenario: str, variant: str, readout: str, condition: ConditionRecord, outcome: str
) -> Row:
    """The columns that say which cell a line is about."""
    return {
        "scenario": scenario,
        "variant": variant,
        "readout": readout,
        "vector": condition.vector,
        "control": condition.control,
        "strength": float(condition.strength),
        "outcome": outcome,
        "condition_id": condition.id,
    }


def _rate_rows(cell: Cell, confidence: float) -> Iterator[Row]:
    n_total, n_scored = len(cell.rollouts), cell.with_status("scored")
    for outcome in acts(cell.scenario):
        k = len(cell.showing(outcome))
        low, high = wilson(k, n_scored, confidence)
        yield {
            **keys(cell.scenario.name, cell.variant, "sample", cell.condition, outcome),
            "k": k,
            "n_total": n_total,
            "n_scored": n_scored,
            "n_incoherent": cell.with_status("incoherent"),
            "n_truncated": cell.with_status("truncated"),
            "n_unscored": cell.with_status(UNSCORED),
            "rate": k / n_scored if n_scored else nan,
            "low": low,
            "high": high,
            "rate_low": k / n_total,
            "rate_high": (k + n_total - n_scored) / n_total,
        }


def _value_rows(grid: ExactGrid, data: RunData) -> Iterator[Row]:
    n_units, n_measures = len(grid.units), len(grid.measures)
    for v, variant in enumerate(grid.variants):
        values = grid.values[:, v]
        columns = values.transpose(1, 0, 2).reshape(1, n_units, -1)
        rng = generator(data.seed, "value", grid.scenario, grid.readout, variant)
        ends = crossed_bootstrap(columns, data.resamples, data.confidence, rng)
        low, high = (end.reshape(-1, n_measures) for end in ends)
        means = values.mean(axis=1)
        for c, condition in enumerate(grid.conditions):
            for m, measure in enumerate(grid.measures):
                yield {
                    **keys(grid.scenario, variant, grid.readout, condition, measure),
                    "value": means[c, m],
                    "value_low": low[c, m],
                    "value_high": high[c, m],
                }


def _rows(data: RunData) -> Iterator[Row]:
    cells = sampled_cells(data)
    for scenario in data.scenarios.values():
        for readout in READOUTS:
            if readout == "sample":
                for cell in cells:
                    if cell.scenario.name == scenario.name:
                        yield from _rate_rows(cell, data.confidence)
            elif (grid := exact_grid(data, scenario, readout)) is not None:
                yield from _value_rows(grid, data)


def outcome_table(data: RunData) -> pd.DataFrame:
    """One line a cell and outcome: counts and rate, or value, each with its interval.

    Rates lie in [0, 1]. Values are log-probabilities in nats a token and their differences
    (`likelihood`), or probabilities (`choice`). Lines follow scenarios, readouts, variants and
    conditions in the order of `data`.
    """
    return typed_frame(_rows(data), COLUMNS, TYPES)
