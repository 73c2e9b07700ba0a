"""What a peer is asked to do, and what it answers. Only the standard library is needed, so that a
peer can run in an environment of its own.

It does not know who asks, nor what a peer is.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A constant addition to the residual stream, at every position of prompt and response."""

    layer: int
    """0-based; added to this layer's output."""

    added: tuple[float, ...]
    """One number for each width of the residual stream."""


@dataclass(frozen=True)
class Job:
    """One prompt, some conditions, some rows of each, some new tokens of each row."""

    model: str
    """Folder with config.json and safetensors, as transformers saves it."""

    token_ids: tuple[int, ...]
    conditions: tuple[Condition, ...]
    rows: int
    """Rows for each condition."""

    new_tokens: int
    """Exactly as many for every row: end-of-sequence tokens are ordinary tokens here."""

    seed: int
    threads: int = 1
    greedy: bool = False
    """False: plain sampling at temperature 1. True: the likeliest token, for comparing peers."""

    keep_outputs: bool = False
    """Whether the answer holds first-step logits and the tokens."""

    variant: str = ""
    """A switched-off part, for ablations; empty: the peer at its best."""

    @property
    def digest(self) -> str:
        """16 hex digits of what is asked, whatever the threads and wherever the model is."""
        text = replace(self, model="", threads=1).to_json()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "Job":
        """What `to_json` wrote."""
        raw: dict[str, Any] = json.loads(line)
        raw["token_ids"] = tuple(raw["token_ids"])
        raw["conditions"] = tuple(
            Condition(c["layer"], tuple(c["added"])) for c in raw["conditions"]
        )
        return cls(**raw)


@dataclass(frozen=True)
class Outcome:
    """What one run of a job took. Times are wall seconds."""

    total_seconds: float = 0.0
    prefill_seconds: float = 0.0
    """Until the first token of every row, summed over conditions that are run one by one."""

    step_seconds: float | None = None
    """Median time in which all rows of all conditions get one more token; None with one token."""

    n_tokens: int = 0
    """New tokens made, all rows together."""

    peak_rss_bytes: int = 0
    """Largest resident memory during the job, weights included."""

    rss_before_bytes: int = 0
    threads: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    token_digest: str = ""
    """16 hex digits of all new tokens, in order of condition and row."""

    steered: bool = True
    """Whether the conditions were really added."""

    first_logits: tuple[tuple[float, ...], ...] = ()
    """On request: logits (up to a constant) of the first new token, for each condition."""

    tokens: tuple[tuple[int, ...], ...] = ()
    """On request: new tokens of each row, in order of condition and row."""

    figures: dict[str, float] = field(default_factory=dict)
    """What a probe measured, in seconds."""

    refusal: str | None = None
    """Why there are no figures; None when there are."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_record(cls, raw: dict[str, Any]) -> "Outcome":
        """From JSON; fields that this version does not know are left out."""
        known = {f.name for f in fields(cls)}
        kept = {name: value for name, value in raw.items() if name in known}
        for name in ("first_logits", "tokens"):
            kept[name] = tuple(tuple(row) for row in kept.get(name, ()))
        return cls(**kept)


def digest_tokens(rows: tuple[tuple[int, ...], ...]) -> str:
    """16 hex digits."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def split_job(job: Job, processes: int) -> tuple[Job, ...]:
    """The job in parts of nearly equal size, one a process: by condition where there are enough,
    else by row. Fewer parts where there is less to share out."""
    if len(job.conditions) >= processes:
        bounds = _bounds(len(job.conditions), processes)
        return tuple(replace(job, conditions=job.conditions[a:b]) for a, b in bounds)
    parts = _bounds(job.rows, min(processes, job.rows))
    return tuple(replace(job, rows=b - a, seed=job.seed + a) for a, b in parts)


def merge_outcomes(outcomes: tuple[Outcome, ...]) -> Outcome:
    """What parts that ran side by side took together: the slowest's time, everybody's memory."""
    refusals = [o.refusal for o in outcomes if o.refusal]
    if refusals:
        return Outcome(refusal=refusals[0])
    steps = [o.step_seconds for o in outcomes if o.step_seconds is not None]
    tokens = tuple(row for o in outcomes for row in o.tokens)
    figures = {name: max(o.figures[name] for o in outcomes) for name in outcomes[0].figures}
    return replace(
        outcomes[0],
        total_seconds=max(o.total_seconds for o in outcomes),
        prefill_seconds=max(o.prefill_seconds for o in outcomes),
        step_seconds=max(steps) if steps else None,
        n_tokens=sum(o.n_tokens for o in outcomes),
        peak_rss_bytes=sum(o.peak_rss_bytes for o in outcomes),
        rss_before_bytes=sum(o.rss_before_bytes for o in outcomes),
        token_digest="+".join(o.token_digest for o in outcomes),
        tokens=tokens,
        figures=figures,
    )


def _bounds(n: int, parts: int) -> list[tuple[int, int]]:
    edges = [round(i * n / parts) for i in range(parts + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
