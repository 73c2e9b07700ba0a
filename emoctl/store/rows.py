"""Records as rows: for each table, its columns, its key, and the way there and back.

A float that could not be told is NaN in a record and NULL in a row: SQLite has no NaN.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Generic, TypeVar

from emoctl.scenarios import Scenario, scenario_digest
from emoctl.store.records import (
    ConditionRecord,
    ProbeRecord,
    ReadingsRecord,
    Receipt,
    RolloutRecord,
    ScoreRecord,
    VariantRecord,
)

Row = tuple[Any, ...]
Record = TypeVar("Record")


@dataclass(frozen=True)
class Table(Generic[Record]):
    """One table: `encode` gives a row in the order of `columns`, `decode` takes one back."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    encode: Callable[[Record], Row]
    decode: Callable[[Row], Record]
    n_compared: int | None = None
    """How many of the first columns tell whether two rows say the same; None for all."""

    @property
    def insert(self) -> str:
        """Insert a row, or do nothing where its key is taken."""
        marks = ", ".join("?" * len(self.columns))
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks}) "
            "ON CONFLICT DO NOTHING"
        )

    @property
    def select(self) -> str:
        """All columns, to be followed by a WHERE or an ORDER BY."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"

    @property
    def ordered(self) -> str:
        """Rows in the order of the key, so that a resumed run reads like an unbroken one."""
        return f" ORDER BY {', '.join(self.key)}"

    def key_of(self, row: Row) -> Row:
        """The key's values, in the key's order."""
        return tuple(row[self.columns.index(column)] for column in self.key)

    def same(self, row: Row, other: Row | None) -> bool:
        """Whether two rows hold the same content."""
        return other is not None and row[: self.n_compared] == other[: self.n_compared]


def _null(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return nan if value is None else value


def scenario_json(scenario: Scenario) -> str:
    """A scenario as JSON. Keys keep the file's order: that of a choice's options is part of what
    is asked."""
    return json.dumps(scenario.model_dump(mode="json", by_alias=True), separators=(",", ":"))


def _scenario_row(scenario: Scenario) -> Row:
    return (scenario.name, scenario_digest(scenario), scenario_json(scenario))


def _scenario(row: Row) -> Scenario:
    return Scenario.model_validate_json(row[2])


def _variant_row(record: VariantRecord) -> Row:
    messages = json.dumps(record.messages)
    return (
        record.scenario,
        record.variant,
        messages,
        record.lead,
        record.rendered,
        record.n_tokens,
    )


def _variant(row: Row) -> VariantRecord:
    scenario, variant, messages, lead, rendered, n_tokens = row
    pairs = tuple((role, content) for role, content in json.loads(messages))
    return VariantRecord(scenario, variant, pairs, lead, rendered, n_tokens)


def _condition_row(record: ConditionRecord) -> Row:
    return (
        record.id,
        record.vector,
        record.control,
        record.strength,
        record.layer,
        record.positions,
        record.coefficient,
    )


def _condition(row: Row) -> ConditionRecord:
    return ConditionRecord(*row)


def _rollout_row(record: RolloutRecord) -> Row:
    return (
        record.id,
        record.scenario,
        record.variant,
        record.condition_id,
        record.rollout,
        record.n_prompt_tokens,
        json.dumps(record.token_ids, separators=(",", ":")),
        record.text,
        record.stop,
        record.status,
        record.outcome,
        record.evidence,
        record.reason,
        record.receipt.n_steered,
        _null(record.receipt.mean_added_norm),
        _null(record.receipt.ratio),
        _null(record.mean_logprob),
    )


def _rollout(row: Row) -> RolloutRecord:
    named = dict(zip(ROLLOUTS.columns, row, strict=True))
    del named["rollout_id"]
    named["token_ids"] = tuple(json.loads(named["token_ids"]))
    named["mean_logprob"] = _nan(named["mean_logprob"])
    named["receipt"] = Receipt(
        n_steered=named.pop("n_steered"),
        mean_added_norm=_nan(named.pop("mean_added_norm")),
        ratio=_nan(named.pop("ratio")),
    )
    return RolloutRecord(**named)


def _score_row(record: ScoreRecord) -> Row:
    return (
        record.scenario,
        record.variant,
        record.condition_id,
        record.readout,
        record.item,
        record.order,
        record.n_tokens,
        _null(record.logprob),
        record.n_steered,
    )


def _score(row: Row) -> ScoreRecord:
    named = dict(zip(SCORES.columns, row, strict=True))
    named["order"] = named.pop("item_order")
    named["logprob"] = _nan(named["logprob"])
    return ScoreRecord(**named)


def _probe_row(record: ProbeRecord) -> Row:
    emotions, layers = json.dumps(record.emotions), json.dumps(record.layers)
    return (1, emotions, layers, int(record.prompt), record.directions_sha256)


def _probe(row: Row) -> ProbeRecord:
    _, emotions, layers, prompt, digest = row
    return ProbeRecord(tuple(json.loads(emotions)), tuple(json.loads(layers)), bool(prompt), digest)


def _readings_row(record: ReadingsRecord) -> Row:
    shape, tokens = json.dumps(record.shape), json.dumps(record.tokens)
    return (record.rollout_id, record.first, shape, record.cosines, record.norms, tokens)


def _readings(row: Row) -> ReadingsRecord:
    rollout_id, first, shape, cosines, norms, tokens = row
    n_tokens, n_layers, n_emotions = json.loads(shape)
    return ReadingsRecord(
        *(rollout_id, first, (n_tokens, n_layers, n_emotions)),
        *(cosines, norms, tuple(json.loads(tokens))),
    )


SCENARIOS: Table[Scenario] = Table(
    "scenarios", ("name", "digest", "json"), ("name",), _scenario_row, _scenario, n_compared=2
)
VARIANTS: Table[VariantRecord] = Table(
    "variants",
    ("scenario", "variant", "messages", "lead", "rendered", "n_tokens"),
    ("scenario", "variant"),
    _variant_row,
    _variant,
)
CONDITIONS: Table[ConditionRecord] = Table(
    "conditions",
    ("id", "vector", "control", "strength", "layer", "positions", "coefficient"),
    ("id",),
    _condition_row,
    _condition,
)
ROLLOUTS: Table[RolloutRecord] = Table(
    "rollouts",
    (
        *("rollout_id", "scenario", "variant", "condition_id", "rollout", "n_prompt_tokens"),
        *("token_ids", "text", "stop", "status", "outcome", "evidence", "reason"),
        *("n_steered", "mean_added_norm", "ratio", "mean_logprob"),
    ),
    ("scenario", "variant", "condition_id", "rollout"),
    _rollout_row,
    _rollout,
)
SCORES: Table[ScoreRecord] = Table(
    "scores",
    (
        *("scenario", "variant", "condition_id", "readout", "item", "item_order"),
        *("n_tokens", "logprob", "n_steered"),
    ),
    ("scenario", "variant", "condition_id", "readout", "item", "item_order"),
    _score_row,
    _score,
)
PROBE: Table[ProbeRecord] = Table(
    "probe",
    ("one", "emotions", "layers", "prompt", "directions_sha256"),
    ("one",),
    _probe_row,
    _probe,
)
READINGS: Table[ReadingsRecord] = Table(
    "readings",
    ("rollout_id", "first", "shape", "cosines", "norms", "tokens"),
    ("rollout_id",),
    _readings_row,
    _readings,
)
