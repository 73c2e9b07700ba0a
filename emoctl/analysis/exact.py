"""Exact scores as one array a scenario and readout: conditions × variants × units × measures.

A *unit* is what is averaged over and resampled: a continuation set of `likelihood`, an order of
the options of `choice`. A score that is absent, or infinite, makes every measure that needs it
NaN, and a mean over units with one NaN is NaN: a half-measured value is no value.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from scipy.special import logsumexp

from emoctl.analysis.intervals import FloatArray
from emoctl.analysis.run_data import RunData
from emoctl.scenarios.orders import option_orders
from emoctl.scenarios.scenario import (
    REGISTERS,
    ChoiceSpec,
    ContinuationSet,
    LikelihoodSpec,
    Scenario,
)
from emoctl.store.records import ConditionRecord, ScoreRecord

REGISTER_SHIFT = "register"
OPTION_MASS = "option_mass"
Scores = dict[tuple[str, str], float]
"""(item, order) → what was scored, of one condition and variant."""


@dataclass(frozen=True)
class ExactGrid:
    """All measures of one scenario and exact readout."""

    scenario: str
    readout: str
    conditions: Sequence[ConditionRecord]
    variants: Sequence[str]
    units: Sequence[str]
    measures: Sequence[str]
    primary: Sequence[str]
    """The measures that claims are about."""

    values: FloatArray
    """(condition, variant, unit, measure)."""


def contrast_name(target: str, foil: str, register: str) -> str:
    """The name of `target` minus `foil` in one register: `threat_vs_plea_flat`."""
    return f"{target}_vs_{foil}_{register}"


def primary_measures(scenario: Scenario, readout: str) -> tuple[str, ...]:
    """The measures of an exact readout that claims are about."""
    if readout == "likelihood" and scenario.likelihood is not None:
        spec = scenario.likelihood
        return tuple(contrast_name(spec.target, f, r) for r in REGISTERS for f in spec.foils)
    if readout == "choice" and scenario.choice is not None:
        return (scenario.primary,) if scenario.primary in scenario.choice.options else ()
    return ()


def _likelihood_measures(spec: LikelihoodSpec) -> list[str]:
    acts = dict.fromkeys((spec.target, *spec.foils, *(a for s in spec.sets for a in s.acts)))
    contrasts = [contrast_name(spec.target, f, r) for r in REGISTERS for f in spec.foils]
    return [*contrasts, REGISTER_SHIFT, *(f"{act}_{r}" for r in REGISTERS for act in acts)]


def _likelihood_row(spec: LikelihoodSpec, unit: ContinuationSet, scores: Scores) -> list[float]:
    """The measures of one set, in nats a token, in the order of `_likelihood_measures`."""
    level = {
        (act, register): scores.get((f"{unit.id}/{act}/{register}", ""), nan)
        for act, texts in unit.acts.items()
        for register in texts
    }
    row: dict[str, float] = {f"{act}_{r}": value for (act, r), value in level.items()}
    row[REGISTER_SHIFT] = float(
        np.mean([level.get((a, "emotional"), nan) - level.get((a, "flat"), nan) for a in unit.acts])
    )
    for register in REGISTERS:
        target = level.get((spec.target, register), nan)
        for foil in spec.foils:
            name = contrast_name(spec.target, foil, register)
            row[name] = target - level.get((foil, register), nan)
    return [row.get(measure, nan) for measure in _likelihood_measures(spec)]


def _choice_row(spec: ChoiceSpec, order: str, scores: Scores) -> list[float]:
    """Each option's share of the options' probability in one order, then that probability."""
    logprobs = np.array([scores.get((label, order), nan) for label in spec.options])
    if not np.isfinite(logprobs).all():
        return [nan] * (len(spec.options) + 1)
    total = float(logsumexp(logprobs))
    return [float(p) for p in np.exp(logprobs - total)] + [float(np.exp(total))]


def _by_cell(records: Sequence[ScoreRecord]) -> dict[tuple[str, str], Scores]:
    cells: dict[tuple[str, str], Scores] = defaultdict(dict)
    for record in records:
        score = record.logprob
        if record.readout == "likelihood":
            score = score / record.n_tokens if record.n_tokens else nan
        cell = cells[record.condition_id, record.variant]
        cell[record.item, record.order] = score if isfinite(score) else nan
    return cells


def exact_grid(data: RunData, scenario: Scenario, readout: str) -> ExactGrid | None:
    """The measures of `scenario` under every condition; None where nothing was scored."""
    records = [r for r in data.scores if (r.scenario, r.readout) == (scenario.name, readout)]
    cells = _by_cell(records)
    likelihood, choice = scenario.likelihood, scenario.choice
    if readout == "likelihood" and likelihood is not None:
        units = [s.id for s in likelihood.sets]
        measures = _likelihood_measures(likelihood)
    elif readout == "choice" and choice is not None:
        units = [">".join(order) for order in option_orders(list(choice.options))]
        measures = [*choice.options, OPTION_MASS]
    else:
        return None
    measured, asked = {condition for condition, _ in cells}, {variant for _, variant in cells}
    conditions = [c for c in data.conditions if c.id in measured]
    variants = [v for v in scenario.variants if v in asked]
    if not (conditions and variants):
        return None

    def row(scores: Scores, unit: int) -> list[float]:
        if readout == "likelihood" and likelihood is not None:
            return _likelihood_row(likelihood, likelihood.sets[unit], scores)
        assert choice is not None
        return _choice_row(choice, units[unit], scores)

    values = [
        [[row(cells.get((c.id, v), {}), u) for u in range(len(units))] for v in variants]
        for c in conditions
    ]
    return ExactGrid(
        scenario.name,
        readout,
        conditions,
        variants,
        units,
        measures,
        primary_measures(scenario, readout),
        np.array(values, dtype=np.float64),
    )
