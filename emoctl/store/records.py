"""What a run folder keeps: the rows of rollouts.sqlite, as values.

Rollouts are keyed (scenario, variant, condition, rollout), exact scores (scenario, variant,
condition, readout, item, order), readings by their rollout's id. Nothing here knows how a row was
made or what it will be used for.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

Control = Literal["none", "shuffled", "random"]
Readout = Literal["sample", "choice", "likelihood"]
UNSTEERED = "unsteered"
"""Name of the one condition of strength 0."""


@dataclass(frozen=True)
class ConditionRecord:
    """What was added to the residual stream."""

    id: str
    """`c-` and 12 hex digits over direction bytes, layer, strength text and positions."""

    vector: str
    """The emotion, or the control's own name (`shuffled-03`, `random-neutral-07`), or
    `unsteered`."""

    control: Control
    """`none` for emotions and for the unsteered condition."""

    strength: str
    """Decimal text, `-0.05`; `0` for the unsteered condition."""

    layer: int
    positions: Literal["all", "response"]
    coefficient: float
    """strength × the layer's mean residual norm."""


@dataclass(frozen=True)
class VariantRecord:
    """A prompt as it was really asked, once a (scenario, variant)."""

    scenario: str
    variant: str
    messages: tuple[tuple[str, str], ...]
    """(role, content), in order."""

    lead: str
    rendered: str
    """The text that was tokenised, chat template and all."""

    n_tokens: int


@dataclass(frozen=True)
class Receipt:
    """Proof of steering, counted inside the forward passes."""

    n_steered: int
    """Positions to which something was added."""

    mean_added_norm: float
    """Mean L2 norm of what was added, over those positions; 0 where there were none."""

    ratio: float
    """`mean_added_norm` over the layer's mean residual norm: |strength|, if all went well."""


@dataclass(frozen=True)
class RolloutRecord:
    """One rollout under one condition, judged."""

    scenario: str
    variant: str
    condition_id: str
    rollout: int
    """Index of the rollout; equal indices share their noise across conditions."""

    n_prompt_tokens: int
    token_ids: tuple[int, ...]
    """What the model wrote, an end-of-sequence token included."""

    text: str
    """What the model wrote, decoded, its lead in front; special tokens left out."""

    stop: Literal["end", "decided", "length"]
    status: Literal["scored", "incoherent", "truncated", "unscored"]
    outcome: str | None
    evidence: str
    reason: str
    receipt: Receipt
    mean_logprob: float
    """Mean log-probability of the written tokens under the steered model, nats a token."""

    @property
    def id(self) -> str:
        """`r-` and 12 hex digits over the rollout's key: what tables cite and commands take."""
        key = "\x1f".join((self.scenario, self.variant, self.condition_id, str(self.rollout)))
        return "r-" + hashlib.sha256(key.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ProbeRecord:
    """What was read of every token of every rollout, once a run."""

    emotions: tuple[str, ...]
    layers: tuple[int, ...]
    prompt: bool
    """Whether every token of the prompt was read, or only its last one."""

    directions_sha256: str
    """`sha256:…` over the bytes of the directions, [layers, emotions, d_model] float32."""


@dataclass(frozen=True)
class ReadingsRecord:
    """What was read of one rollout, as bytes: little-endian, last axis fastest."""

    rollout_id: str
    first: int
    """Position of the first token that was read, counted from the response's first token: −1 is
    the last prompt token."""

    shape: tuple[int, int, int]
    """Tokens, layers, emotions; the latter two as the run's ProbeRecord lists them."""

    cosines: bytes
    """float16 [tokens, layers, emotions]; NaN where a token's activation has no direction."""

    norms: bytes
    """float32 [tokens, layers]: L2 norm of resid_post. Projection = cosine × norm."""

    tokens: tuple[str, ...]
    """The text of each token that was read, decoded by itself."""

    def __post_init__(self) -> None:
        n_tokens, n_layers, n_emotions = self.shape
        sizes = (2 * n_tokens * n_layers * n_emotions, 4 * n_tokens * n_layers, n_tokens)
        if sizes != (len(self.cosines), len(self.norms), len(self.tokens)):
            raise ValueError(f"readings of {self.rollout_id} do not have the shape {self.shape}")


@dataclass(frozen=True)
class ScoreRecord:
    """One exact score: a continuation's or an option's log-probability under one condition."""

    scenario: str
    variant: str
    condition_id: str
    readout: Literal["choice", "likelihood"]
    item: str
    """`likelihood`: `set/act/register`, e.g. `s01/threat/flat`. `choice`: the outcome label."""

    order: str
    """`choice`: the outcome labels in the order shown, joined by `>`. Empty for `likelihood`."""

    n_tokens: int
    logprob: float
    """Sum over the scored tokens, nats."""

    n_steered: int
    """Positions steered while it was scored; the prompt's own included where it was steered."""
