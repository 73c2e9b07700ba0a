"""What analysis starts from: the rows of one run as plain values, whatever kept them.

Nothing here knows a file format. `read_run` is the one place that asks a store, and it asks only
for the things that the `Rows` protocol names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, runtime_checkable

from emoctl.analysis.reading_means import ReadingMeans, reading_means
from emoctl.config.schema import ExperimentConfig, strength_text
from emoctl.scenarios.orders import option_orders
from emoctl.scenarios.scenario import Scenario
from emoctl.store.records import (
    ConditionRecord,
    ProbeRecord,
    ReadingsRecord,
    Readout,
    RolloutRecord,
    ScoreRecord,
)

CONTROLS = ("none", "shuffled", "random")
ALL_VARIANTS = "all"
"""Stands in the variant column of a line that is about all variants together."""

READOUTS: tuple[Readout, ...] = ("sample", "choice", "likelihood")


@runtime_checkable
class Rows(Protocol):
    """The part of a run store that analysis reads."""

    def conditions(self) -> Sequence[ConditionRecord]: ...

    def scenarios(self) -> Sequence[Scenario]: ...

    def rollouts(self) -> Sequence[RolloutRecord]: ...

    def scores(self) -> Sequence[ScoreRecord]: ...

    def probe(self) -> ProbeRecord | None: ...

    def readings(self) -> Iterator[ReadingsRecord]: ...


@dataclass(frozen=True)
class RunData:
    """One run, ready to be counted. Tables list conditions in the order given here."""

    conditions: Sequence[ConditionRecord]
    scenarios: Mapping[str, Scenario]
    rollouts: Sequence[RolloutRecord] = ()
    scores: Sequence[ScoreRecord] = ()
    readings: ReadingMeans | None = None
    planned: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(scenario, variant, readout) → rollouts, or exact scores, that one condition should have."""

    primary_strength: str | None = None
    """The strength at which controls run and claims are tested, as decimal text."""

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0

    @property
    def alpha(self) -> float:
        """The error rate that goes with the confidence: 0.05 for 0.95."""
        return round(1 - self.confidence, 12)

    def is_primary(self, condition: ConditionRecord) -> bool:
        """Whether `condition` stands at the primary strength."""
        primary = self.primary_strength
        return primary is not None and Decimal(condition.strength) == Decimal(primary)


def is_unsteered(condition: ConditionRecord) -> bool:
    """Whether nothing is added under this condition, however its strength is spelt."""
    return Decimal(condition.strength) == 0


def ordered(
    conditions: Sequence[ConditionRecord], vectors: Sequence[str] = ()
) -> list[ConditionRecord]:
    """Unsteered first, then `vectors` in that order, then controls; strengths ascending."""
    place = {name: i for i, name in enumerate(vectors)}

    def key(c: ConditionRecord) -> tuple[bool, int, int, str, Decimal, str]:
        return (
            not is_unsteered(c),
            CONTROLS.index(c.control),
            place.get(c.vector, len(place)),
            c.vector,
            Decimal(c.strength),
            c.id,
        )

    return sorted(conditions, key=key)


def n_items(scenario: Scenario, readout: str, n_rollouts: int) -> int | None:
    """Rows that one condition of a variant should have; None where it has no such readout."""
    if readout == "sample":
        return n_rollouts
    if readout == "choice" and scenario.choice is not None:
        options = list(scenario.choice.options)
        return len(options) * len(option_orders(options))
    if readout == "likelihood" and scenario.likelihood is not None:
        return sum(len(texts) for s in scenario.likelihood.sets for texts in s.acts.values())
    return None


def planned_counts(
    config: ExperimentConfig, scenarios: Mapping[str, Scenario]
) -> dict[tuple[str, str, str], int]:
    """(scenario, variant, readout) → rows per condition that `config` asks for."""
    counts: dict[tuple[str, str, str], int] = {}
    n_rollouts = config.readouts.sample.n if config.readouts.sample else 0
    for name, scenario in scenarios.items():
        for readout in scenario.readouts:
            section = getattr(config.readouts, readout)
            expected = n_items(scenario, readout, n_rollouts)
            if section is None or expected is None:
                continue
            chosen = scenario.variants if section.variants == "all" else section.variants
            known = (v for v in chosen if v in scenario.variants)
            counts.update({(name, variant, readout): expected for variant in known})
    return counts


def read_run(store: Rows, config: ExperimentConfig) -> RunData:
    """Everything that a run stored, in the order that tables show it."""
    scenarios = {scenario.name: scenario for scenario in store.scenarios()}
    primary = config.primary_strength
    return RunData(
        conditions=ordered(list(store.conditions()), config.steering.vectors),
        scenarios=scenarios,
        rollouts=tuple(store.rollouts()),
        scores=tuple(store.scores()),
        readings=reading_means(store.probe(), store.readings()),
        planned=planned_counts(config, scenarios),
        primary_strength=None if primary is None else strength_text(primary),
        confidence=config.statistics.confidence,
        resamples=config.statistics.resamples,
        seed=config.seed,
    )
