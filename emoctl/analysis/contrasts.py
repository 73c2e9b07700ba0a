"""tables/contrasts.csv: every condition against strength 0, paired.

    sample      rollout i steered against rollout i unsteered, same noise: McNemar, Newcombe
    choice      one order of the options, steered against unsteered: bootstrap, rank of controls
    likelihood  one continuation set, steered against unsteered: bootstrap, rank of controls

In the paired rates a rollout that was not scored counts as one in which the act was not observed;
`difference_scored` leaves such pairs out, and `n_dropped` says how many they are.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import nan

import numpy as np
import pandas as pd

from emoctl.analysis.exact import ExactGrid, exact_grid
from emoctl.analysis.families import correct_families
from emoctl.analysis.frames import Row, typed_frame
from emoctl.analysis.intervals import (
    FloatArray,
    Pairs,
    control_rank,
    crossed_bootstrap,
    generator,
    mcnemar_exact,
    newcombe_paired,
)
from emoctl.analysis.outcomes import KEYS, keys
from emoctl.analysis.run_data import ALL_VARIANTS, READOUTS, RunData, is_unsteered
from emoctl.analysis.sampled import Cell, acts, sampled_cells, shows
from emoctl.scenarios.scenario import Scenario
from emoctl.store.records import ConditionRecord, RolloutRecord

COUNTS = ("n_pairs", "n_dropped", "b", "c", "rank", "n_controls")
COLUMNS = (
    *KEYS, "primary", "baseline", "difference", "low", "high", "difference_scored", "n_pairs",
    "n_dropped", "b", "c", "phi", "p", "p_method", "p_holm", "rank", "n_controls", "controls_low",
    "controls_high", "condition_id", "interval",
)  # fmt: skip
TYPES = {
    **dict.fromkeys(COUNTS, "Int64"),
    **dict.fromkeys(
        ("strength", "baseline", "difference", "low", "high", "difference_scored", "phi", "p",
         "p_holm", "controls_low", "controls_high"),
        "float64",
    ),
    "primary": "bool",
}  # fmt: skip


def _baseline_of(
    condition: ConditionRecord, candidates: Sequence[ConditionRecord]
) -> ConditionRecord | None:
    """The unsteered condition to compare with: one of the same positions, or else any."""
    unsteered = [c for c in candidates if is_unsteered(c)]
    same = [c for c in unsteered if c.positions == condition.positions]
    return next(iter(same or unsteered), None)


def pair_rollouts(before: Cell, after: Cell, outcome: str) -> tuple[Pairs, Pairs]:
    """Pairs of equal rollout index: all of them, and those that were scored on both sides."""
    earlier = {r.rollout: r for r in before.rollouts}
    pairs = [(earlier[r.rollout], r) for r in after.rollouts if r.rollout in earlier]
    scored = [p for p in pairs if all(r.status == "scored" for r in p)]

    def count(rows: Sequence[tuple[RolloutRecord, RolloutRecord]]) -> Pairs:
        seen = [(shows(a, outcome), shows(b, outcome)) for a, b in rows]
        return Pairs(
            both=seen.count((True, True)),
            before_only=seen.count((True, False)),
            after_only=seen.count((False, True)),
            neither=seen.count((False, False)),
        )

    return count(pairs), count(scored)


def _difference(pairs: Pairs) -> float:
    return (pairs.after_only - pairs.before_only) / pairs.n if pairs.n else nan


def _sampled_row(before: Cell, after: Cell, outcome: str, confidence: float) -> Row:
    every, scored = pair_rollouts(before, after, outcome)
    low, high = newcombe_paired(every, confidence)
    scenario = after.scenario
    return {
        **keys(scenario.name, after.variant, "sample", after.condition, outcome),
        "primary": outcome == scenario.primary,
        "baseline": (every.both + every.before_only) / every.n if every.n else nan,
        "difference": _difference(every),
        "low": low,
        "high": high,
        "difference_scored": _difference(scored),
        "n_pairs": every.n,
        "n_dropped": every.n - scored.n,
        "b": every.before_only,
        "c": every.after_only,
        "phi": every.phi,
        "p": mcnemar_exact(every),
        "p_method": "mcnemar",
        "p_holm": nan,
        "interval": "newcombe",
    }


def _sampled_rows(data: RunData, scenario: Scenario, cells: Sequence[Cell]) -> Iterator[Row]:
    for variant in scenario.variants:
        here = {
            cell.condition.id: cell
            for cell in cells
            if (cell.scenario.name, cell.variant) == (scenario.name, variant)
        }
        conditions = [cell.condition for cell in here.values()]
        for condition in conditions:
            baseline = _baseline_of(condition, conditions)
            if is_unsteered(condition) or baseline is None:
                continue
            for outcome in acts(scenario):
                before, after = here[baseline.id], here[condition.id]
                yield _sampled_row(before, after, outcome, data.confidence)


def _exact_block(
    grid: ExactGrid, data: RunData, variant: str, chosen: slice, pairs: Sequence[tuple[int, int]]
) -> Iterator[Row]:
    """The lines of one variant, or of all: `pairs` are (steered, unsteered) conditions."""
    values = grid.values[:, chosen]
    steered, unsteered = (list(side) for side in zip(*pairs, strict=True))
    differences: FloatArray = values[steered] - values[unsteered]
    n_variants, n_units = differences.shape[1:3]
    columns = differences.transpose(1, 2, 0, 3).reshape(n_variants, n_units, -1)
    rng = generator(data.seed, "difference", grid.scenario, grid.readout, variant)
    low, high = crossed_bootstrap(columns, data.resamples, data.confidence, rng)
    ends = np.stack([low, high]).reshape(2, len(pairs), -1)
    unit = "sets" if grid.readout == "likelihood" else "orders"
    over = f"variants and {unit}" if n_variants > 1 else unit
    for i, (after, before) in enumerate(pairs):
        for m, measure in enumerate(grid.measures):
            yield {
                **keys(grid.scenario, variant, grid.readout, grid.conditions[after], measure),
                "primary": measure in grid.primary,
                "baseline": values[before, :, :, m].mean(),
                "difference": differences[i, :, :, m].mean(),
                "low": ends[0, i, m],
                "high": ends[1, i, m],
                "p": nan,
                "p_method": "",
                "p_holm": nan,
                "interval": f"bootstrap over {over}",
            }


def _exact_rows(grid: ExactGrid, data: RunData) -> Iterator[Row]:
    place = {c.id: i for i, c in enumerate(grid.conditions)}
    pairs = [
        (place[c.id], place[baseline.id])
        for c in grid.conditions
        if not is_unsteered(c) and (baseline := _baseline_of(c, grid.conditions)) is not None
    ]
    if not pairs:
        return
    for v, variant in enumerate(grid.variants):
        yield from _exact_block(grid, data, variant, slice(v, v + 1), pairs)
    if len(grid.variants) > 1:
        yield from _exact_block(grid, data, ALL_VARIANTS, slice(None), pairs)


def _rank_among_controls(rows: Sequence[Row], data: RunData) -> None:
    """Fill in where each real vector stands among the controls, at the primary strength."""
    if data.primary_strength is None:
        return
    primary = float(Decimal(data.primary_strength))
    controls: dict[tuple[str, ...], list[float]] = defaultdict(list)
    at_primary = [row for row in rows if row["strength"] == primary]

    def cell(row: Row) -> tuple[str, ...]:
        return row["scenario"], row["variant"], row["readout"], row["outcome"]

    for row in at_primary:
        if row["control"] != "none":
            controls[cell(row)].append(row["difference"])
    for row in at_primary:
        if row["control"] != "none":
            continue
        standing = control_rank(row["difference"], controls[cell(row)])
        row["rank"], row["n_controls"] = standing.rank, standing.n_controls
        row["controls_low"], row["controls_high"] = standing.low, standing.high
        if row["readout"] != "sample":
            row["p"], row["p_method"] = standing.p, "rank"


def contrast_table(data: RunData) -> pd.DataFrame:
    """One line a non-zero condition and outcome, against strength 0 of the same variant.

    `difference` has the unit of the outcome table's rate or value. `b` counts pairs with the act
    only at strength 0, `c` those with it only under steering. `p` is exact McNemar's for sampled
    readouts, and (1 + controls at least as large) / (1 + controls) for exact ones, where it exists
    only for emotions at the primary strength. `p_holm` exists only in the declared families: see
    `emoctl.analysis.families`.
    """
    rows: list[Row] = []
    cells = sampled_cells(data)
    for scenario in data.scenarios.values():
        for readout in READOUTS:
            if readout == "sample":
                rows += _sampled_rows(data, scenario, cells)
            elif (grid := exact_grid(data, scenario, readout)) is not None:
                rows += _exact_rows(grid, data)
    _rank_among_controls(rows, data)
    correct_families(rows)
    return typed_frame(rows, COLUMNS, TYPES)
