"""Judged rollouts by cell: a cell is one scenario, variant and condition of the `sample` readout.

Counts them; draws no conclusion. A rollout that was not scored has no act, and is counted apart.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from emoctl.analysis.frames import typed_frame
from emoctl.analysis.run_data import RunData
from emoctl.errors import UsageError, did_you_mean
from emoctl.scenarios.scenario import SET_ASIDE, Scenario
from emoctl.store.records import ConditionRecord, RolloutRecord

UNSCORED = "unscored"
CELL_COLUMNS = (
    "scenario", "variant", "vector", "control", "strength", "outcome", "n", "rollouts",
    "condition_id",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """The rollouts of one variant under one condition, by index."""

    scenario: Scenario
    variant: str
    condition: ConditionRecord
    rollouts: Sequence[RolloutRecord]

    def with_status(self, status: str) -> int:
        """How many rollouts were `scored`, `incoherent`, `truncated` or `unscored`."""
        return sum(r.status == status for r in self.rollouts)

    def showing(self, outcome: str) -> list[RolloutRecord]:
        """The rollouts of one outcome, or of one reason to set a rollout aside."""
        if outcome in (*SET_ASIDE, UNSCORED):
            return [r for r in self.rollouts if r.status == outcome]
        return [r for r in self.rollouts if shows(r, outcome)]


def shows(rollout: RolloutRecord, outcome: str) -> bool:
    """Whether the rollout was scored, and as this outcome."""
    return rollout.status == "scored" and rollout.outcome == outcome


def acts(scenario: Scenario) -> list[str]:
    """The outcomes that have a rate: all but those that say that nothing could be told."""
    return [label for label in scenario.outcomes if label not in SET_ASIDE]


def sampled_cells(data: RunData) -> list[Cell]:
    """Every cell that has a rollout, scenario by scenario, variant by variant."""
    found: dict[tuple[str, str, str], list[RolloutRecord]] = defaultdict(list)
    for rollout in data.rollouts:
        found[rollout.scenario, rollout.variant, rollout.condition_id].append(rollout)
    return [
        Cell(scenario, variant, condition, sorted(rows, key=lambda r: r.rollout))
        for scenario in data.scenarios.values()
        for variant in scenario.variants
        for condition in data.conditions
        if (rows := found.get((scenario.name, variant, condition.id)))
    ]


def cell_rollouts(
    data: RunData, *, scenario: str, variant: str, condition_id: str, outcome: str | None = None
) -> list[str]:
    """The ids of the rollouts behind a cell of the sampled table, by rollout index.

    `outcome` is a label of the scenario, `incoherent`, `truncated` or `unscored`; None for all.

    Raises:
        UsageError: the scenario has no such outcome.
    """
    for cell in sampled_cells(data):
        if (cell.scenario.name, cell.variant, cell.condition.id) != (
            scenario,
            variant,
            condition_id,
        ):
            continue
        if outcome is None:
            return [r.id for r in cell.rollouts]
        known = [*acts(cell.scenario), *SET_ASIDE, UNSCORED]
        if outcome not in known:
            raise UsageError(
                f"{scenario} has no outcome {outcome!r}",
                hint=did_you_mean(outcome, known, listing=f"it has {', '.join(known)}"),
            )
        return [r.id for r in cell.showing(outcome)]
    return []


def cells_table(data: RunData) -> pd.DataFrame:
    """One line a cell and outcome, with the ids of its rollouts joined by spaces."""
    rows = [
        {
            "scenario": cell.scenario.name,
            "variant": cell.variant,
            "vector": cell.condition.vector,
            "control": cell.condition.control,
            "strength": float(cell.condition.strength),
            "outcome": outcome,
            "n": len(shown),
            "rollouts": " ".join(r.id for r in shown),
            "condition_id": cell.condition.id,
        }
        for cell in sampled_cells(data)
        for outcome in (*acts(cell.scenario), *SET_ASIDE, UNSCORED)
        for shown in [cell.showing(outcome)]
    ]
    return typed_frame(rows, CELL_COLUMNS, {"strength": "float64", "n": "Int64"})
