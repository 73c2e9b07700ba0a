"""A cell of a table, by name, and the rollouts behind it.

`replacement-affair/base/desperate/0.05/blackmail`: scenario, variant, vector, strength and, if
wanted, an outcome. It knows no rates: it leads from a number back to its transcripts.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from emoctl.errors import UsageError, did_you_mean
from emoctl.store.database import RunStore
from emoctl.store.records import UNSTEERED, ConditionRecord, RolloutRecord

SHAPE = "SCENARIO/VARIANT/VECTOR/STRENGTH[/OUTCOME]"
STATUSES = ("incoherent", "truncated", "unscored")


@dataclass(frozen=True)
class Cell:
    """Which rollouts are meant."""

    scenario: str
    variant: str
    vector: str
    strength: Decimal
    outcome: str | None = None
    """An outcome, or a status where there is none; None takes all."""


def parse_cell(text: str) -> Cell:
    """A cell as it is written. Strength 0 is the unsteered condition, whatever vector it names.

    A vector's own name may hold slashes; the strength is the last part, or the last but one.

    Raises:
        UsageError: it has too few parts, or the strength is no number.
    """
    parts = text.split("/")
    if len(parts) < 4 or not all((*parts[:2], "".join(parts[2:-1]), parts[-1])):
        raise UsageError(f"--cell {text!r} is not {SHAPE}", hint="write it as tables name it")
    at = len(parts) - (1 if len(parts) == 4 or _number(parts[-1]) is not None else 2)
    strength = _number(parts[at])
    if strength is None:
        raise UsageError(f"--cell {text!r}: strength {parts[at]!r} is not a number")
    vector = "/".join(parts[2:at]) if strength else UNSTEERED
    outcome = parts[at + 1] if at + 1 < len(parts) else None
    return Cell(parts[0], parts[1], vector, strength, outcome)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def cell_name(scenario: str, variant: str, condition: ConditionRecord) -> str:
    """The name of a cell, its outcome left out."""
    place = (scenario, variant, condition.vector, condition.strength)
    return "/".join(place)


def outcome_label(rollout: RolloutRecord) -> str:
    """The outcome, or the status of a rollout that has none."""
    return rollout.outcome or rollout.status


def rollouts_in(store: RunStore, cell: Cell) -> list[RolloutRecord]:
    """The rollouts of a cell, in order; empty where it holds none, as in an exact readout.

    Raises:
        UsageError: the run has no such scenario, variant, vector, strength or outcome.
    """
    scenarios = {scenario.name: scenario for scenario in store.scenarios()}
    _known("scenario", cell.scenario, list(scenarios))
    variants = [record.variant for record in store.variants(scenario=cell.scenario)]
    _known("variant", cell.variant, variants)
    conditions = store.conditions()
    _known("vector", cell.vector, sorted({c.vector for c in conditions}))
    conditions = [c for c in conditions if c.vector == cell.vector]
    fitting = [c.id for c in conditions if Decimal(c.strength) == cell.strength]
    if not fitting:
        swept = sorted({c.strength for c in conditions}, key=Decimal)
        raise UsageError(
            f"the run has no strength {cell.strength} of {cell.vector}",
            hint=f"it has {', '.join(swept)}",
        )
    if cell.outcome is not None:
        _known("outcome", cell.outcome, [*scenarios[cell.scenario].outcomes, *STATUSES])
    rollouts = store.rollouts(scenario=cell.scenario, variant=cell.variant, condition_ids=fitting)
    return [r for r in rollouts if cell.outcome in (None, outcome_label(r))]


def _known(what: str, word: str, known: list[str]) -> None:
    if word not in known:
        listing = f"it has {', '.join(known[:8])}" if known else "it has none yet"
        raise UsageError(
            f"the run has no {what} {word!r}", hint=did_you_mean(word, known, listing=listing)
        )
