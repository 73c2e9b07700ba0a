"""Gates held against the outcome table: conditions on cells, that decide the exit code.

Controls are never gated. A gate that names no cell, or meets a cell without a figure, has neither
passed nor failed: `passed` is None, and a run cannot succeed with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd

from emoctl.config.gates import GateFields
from emoctl.errors import GateError, IncompleteError


@dataclass(frozen=True)
class GateResult:
    """What one gate found."""

    gate_text: str
    passed: bool | None
    """None where a cell is missing or has no figure."""

    figures: tuple[tuple[str, float], ...]
    """(cell, figure) of every cell that the gate names; the figure may be NaN."""


def _named_cells(gate: GateFields, outcomes: pd.DataFrame) -> pd.DataFrame:
    """The lines that a gate speaks of."""
    real = outcomes[outcomes["control"] == "none"]
    chosen = (
        (real["outcome"] == gate.outcome)
        & (real["vector"] == gate.vector)
        & ((real["strength"] - float(gate.strength)).abs() < 1e-12)
    )
    for column in ("scenario", "variant", "readout"):
        wanted = getattr(gate, column)
        if wanted is not None:
            chosen &= real[column] == wanted
    if gate.readout is None:
        chosen &= (real["readout"] == "sample") != (gate.column == "value")
    return real[chosen]


def _cell_name(row: Any) -> str:
    at = row.vector if row.strength == 0 else f"{row.vector} {row.strength:+g}"
    return f"{row.scenario}/{row.variant} {row.readout}, {row.outcome} at {at}"


def check_gate(gate: GateFields, outcomes: pd.DataFrame) -> GateResult:
    """Hold one gate against every cell that it names.

    Without a readout, `value` is sought in exact readouts and every other column in sampled ones.
    """
    cells = _named_cells(gate, outcomes)
    figures = tuple(
        (_cell_name(row), float(getattr(row, gate.column))) for row in cells.itertuples()
    )
    known = [figure for _, figure in figures if not isnan(figure)]
    passed: bool | None
    if not all(gate.meets(figure) for figure in known):
        passed = False
    elif not known or len(known) < len(figures):
        passed = None
    else:
        passed = True
    return GateResult(gate.text, passed, figures)


def check_gates(gates: Sequence[GateFields], outcomes: pd.DataFrame) -> list[GateResult]:
    """Every gate, in the order given."""
    return [check_gate(gate, outcomes) for gate in gates]


def gates_exit_code(results: Sequence[GateResult]) -> int:
    """0 where all passed, 1 where one failed, 4 where one could not be told and none failed."""
    if any(result.passed is False for result in results):
        return GateError.exit_code
    if any(result.passed is None for result in results):
        return IncompleteError.exit_code
    return 0
