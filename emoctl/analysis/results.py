"""One call from a run's rows to everything that a report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from emoctl.analysis.contrasts import contrast_table
from emoctl.analysis.gates import GateResult, check_gates
from emoctl.analysis.outcomes import outcome_table
from emoctl.analysis.readings import readings_table
from emoctl.analysis.run_data import RunData
from emoctl.analysis.sampled import cells_table
from emoctl.analysis.sampled_verdicts import sampled_verdicts
from emoctl.analysis.verdicts import Verdict, exact_verdicts
from emoctl.config.gates import GateFields


@dataclass(frozen=True)
class Shortfall:
    """A cell that has fewer rows than the plan asked for."""

    scenario: str
    variant: str
    readout: str
    vector: str
    strength: str
    present: int
    planned: int


@dataclass(frozen=True)
class Results:
    """All tables of a run, and what they say."""

    outcomes: pd.DataFrame
    contrasts: pd.DataFrame
    cells: pd.DataFrame
    verdicts: Sequence[Verdict]
    gates: Sequence[GateResult]
    shortfalls: Sequence[Shortfall]
    primary_strength: float | None
    confidence: float
    readings: pd.DataFrame | None = None
    """None where none were taken."""

    @property
    def alpha(self) -> float:
        """The error rate that goes with the confidence: 0.05 for 0.95."""
        return round(1 - self.confidence, 12)

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """File name → table, as `write_tables` takes it."""
        frames = {"outcomes": self.outcomes, "contrasts": self.contrasts, "cells": self.cells}
        return frames if self.readings is None else {**frames, "readings": self.readings}


def find_shortfalls(data: RunData) -> list[Shortfall]:
    """Cells begun and not finished, and planned variants in which nothing was done at all."""
    present: dict[tuple[str, str, str], dict[str, int]] = {key: {} for key in data.planned}
    keyed: list[tuple[tuple[str, str, str], str]] = [
        *(((r.scenario, r.variant, "sample"), r.condition_id) for r in data.rollouts),
        *(((s.scenario, s.variant, s.readout), s.condition_id) for s in data.scores),
    ]
    for key, condition_id in keyed:
        counts = present.get(key)
        if counts is not None:
            counts[condition_id] = counts.get(condition_id, 0) + 1
    found = []
    for key, planned in data.planned.items():
        if not present[key]:
            found.append(Shortfall(*key, "", "", 0, planned))
        found += [
            Shortfall(*key, c.vector, c.strength, present[key][c.id], planned)
            for c in data.conditions
            if 0 < present[key].get(c.id, 0) < planned
        ]
    return found


def find_verdicts(
    outcomes: pd.DataFrame, contrasts: pd.DataFrame, primary_strength: float | None, alpha: float
) -> list[Verdict]:
    """One plain sentence an emotion and readout; none where nothing was steered."""
    if primary_strength is None:
        return []
    return [
        *sampled_verdicts(outcomes, contrasts, primary_strength, alpha),
        *exact_verdicts(contrasts, primary_strength, alpha),
    ]


def analyse(data: RunData, gates: Sequence[GateFields] = ()) -> Results:
    """Every table, verdict and gate of a run."""
    outcomes, contrasts = outcome_table(data), contrast_table(data)
    primary = None if data.primary_strength is None else float(data.primary_strength)
    return Results(
        outcomes=outcomes,
        contrasts=contrasts,
        cells=cells_table(data),
        verdicts=find_verdicts(outcomes, contrasts, primary, data.alpha),
        gates=check_gates(gates, outcomes),
        shortfalls=find_shortfalls(data),
        primary_strength=primary,
        confidence=data.confidence,
        readings=readings_table(data),
    )


def plain(results: Results) -> Mapping[str, Any]:
    """The verdicts, gates and shortfalls as JSON values; an unknown figure is null."""
    return {
        "verdicts": [vars(v) for v in results.verdicts],
        "gates": [
            {
                "gate": g.gate_text,
                "passed": g.passed,
                "figures": [[cell, None if x != x else x] for cell, x in g.figures],
            }
            for g in results.gates
        ],
        "shortfalls": [vars(s) for s in results.shortfalls],
    }
