"""tables/readings.csv: what the model's activations point along, by condition and emotion.

The rollout is the unit: tokens of one response are not independent, so each rollout counts once,
with its mean. Every rollout counts, whatever its judge said. A control's lines show how far
directions that should do nothing special move the same reading.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from emoctl.analysis.frames import Row, typed_frame
from emoctl.analysis.reading_means import Grid, ReadingMeans, RolloutMeans
from emoctl.analysis.run_data import RunData, is_unsteered
from emoctl.analysis.sampled import Cell, sampled_cells

KEYS = ("scenario", "variant", "vector", "control", "strength", "emotion", "layer", "place")
COUNTS = ("n_rollouts", "n_tokens", "n_pairs")
FIGURES = (
    *("prompt_end", "prompt_end_difference"),
    *("response", "response_low", "response_high"),
    *("difference", "difference_low", "difference_high"),
)
COLUMNS = (*KEYS, *COUNTS, *FIGURES, "condition_id")
TYPES = {
    **dict.fromkeys(("layer", *COUNTS), "Int64"),
    **dict.fromkeys(("strength", *FIGURES), "float64"),
}


@dataclass(frozen=True)
class Estimate:
    """A mean over rollouts and its t interval, each of the shape of one rollout's values."""

    mean: Grid
    low: Grid
    high: Grid
    n: Grid
    """Rollouts that have a value."""


def over_rollouts(values: Sequence[Grid], shape: tuple[int, ...], confidence: float) -> Estimate:
    """Mean over those rollouts that have a value, and its t interval; NaN for none, no interval
    for one."""
    stacked = np.stack(values) if values else np.empty((0, *shape))
    known = np.isfinite(stacked)
    n = known.sum(axis=0).astype(np.float64)
    filled = np.where(known, stacked, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / n
        squares = (np.where(known, stacked - mean, 0.0) ** 2).sum(axis=0)
        error = np.sqrt(squares / (n - 1) / n)
        reach = student.ppf((1 + confidence) / 2, np.where(n > 1, n - 1, np.nan)) * error
    return Estimate(mean, mean - reach, mean + reach, n)


@dataclass(frozen=True)
class _Summary:
    """One cell's figures, each [layers, emotions]."""

    n_tokens: Grid
    prompt_end: Estimate
    prompt_end_difference: Estimate
    response: Estimate
    difference: Estimate

    def figures(self, at: tuple[int, int]) -> Row:
        """The numbers of one line of the table."""
        return {
            "n_rollouts": int(self.response.n[at]),
            "n_tokens": int(self.n_tokens[at[0]]),
            "n_pairs": int(self.difference.n[at]),
            "prompt_end": self.prompt_end.mean[at],
            "prompt_end_difference": self.prompt_end_difference.mean[at],
            "response": self.response.mean[at],
            "response_low": self.response.low[at],
            "response_high": self.response.high[at],
            "difference": self.difference.mean[at],
            "difference_low": self.difference.low[at],
            "difference_high": self.difference.high[at],
        }


def _by_index(cell: Cell | None, read: ReadingMeans) -> dict[int, RolloutMeans]:
    """Rollout index → what was read of it."""
    rollouts = cell.rollouts if cell else ()
    return {r.rollout: read.rollouts[r.id] for r in rollouts if r.id in read.rollouts}


def _summary(
    ours: Mapping[int, RolloutMeans],
    unsteered: Mapping[int, RolloutMeans],
    read: ReadingMeans,
    confidence: float,
) -> _Summary:
    shape = (len(read.layers), len(read.emotions))
    pairs = [(ours[i], unsteered[i]) for i in ours if i in unsteered]

    def estimate(values: Sequence[Grid]) -> Estimate:
        return over_rollouts(values, shape, confidence)

    return _Summary(
        n_tokens=sum((m.n_tokens.astype(float) for m in ours.values()), np.zeros(shape[0])),
        prompt_end=estimate([m.at_prompt_end for m in ours.values()]),
        prompt_end_difference=estimate([a.at_prompt_end - b.at_prompt_end for a, b in pairs]),
        response=estimate([m.over_response for m in ours.values()]),
        difference=estimate([a.over_response - b.over_response for a, b in pairs]),
    )


def _place(cell: Cell, layer: int) -> str:
    """Where a layer that was read lies, seen from the steered one; empty for unsteered."""
    if is_unsteered(cell.condition):
        return ""
    steered = cell.condition.layer
    return "at" if layer == steered else "above" if layer > steered else "below"


def _cell_rows(cell: Cell, summary: _Summary, read: ReadingMeans) -> Iterator[Row]:
    condition = cell.condition
    for i, layer in enumerate(read.layers):
        for j, emotion in enumerate(read.emotions):
            yield {
                "scenario": cell.scenario.name,
                "variant": cell.variant,
                "vector": condition.vector,
                "control": condition.control,
                "strength": float(condition.strength),
                "emotion": emotion,
                "layer": layer,
                "place": _place(cell, layer),
                **summary.figures((i, j)),
                "condition_id": condition.id,
            }


def _rows(data: RunData, read: ReadingMeans) -> Iterator[Row]:
    cells = sampled_cells(data)
    baselines = {(c.scenario.name, c.variant): c for c in cells if is_unsteered(c.condition)}
    for cell in cells:
        baseline = baselines.get((cell.scenario.name, cell.variant))
        steered = not is_unsteered(cell.condition)
        summary = _summary(
            _by_index(cell, read),
            _by_index(baseline, read) if steered else {},
            read,
            data.confidence,
        )
        yield from _cell_rows(cell, summary, read)


def readings_table(data: RunData) -> pd.DataFrame | None:
    """One line a sampled cell, emotion and layer; None where nothing was read.

    Figures are cosines, −1 to 1. Differences are steered − unsteered over rollouts of equal index,
    which share their noise.
    """
    if data.readings is None:
        return None
    return typed_frame(_rows(data, data.readings), COLUMNS, TYPES)
