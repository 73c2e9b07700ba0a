"""Emotion vectors + a config → the conditions of a sweep, controls included.

A condition's id is a hash over the bytes of its direction, the layer, the strength as decimal
text, and the positions: vectors that were extracted again, with other bytes, are other conditions
and never mix with the old ones in one table.
"""

import hashlib
from dataclasses import dataclass
from decimal import Decimal

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.config.schema import ExperimentConfig, Positions, strength_text
from emoctl.engine.steering import Steering
from emoctl.errors import ConfigError, VectorError
from emoctl.store.records import UNSTEERED, ConditionRecord, Control
from emoctl.vectors.files import EmotionVectors
from emoctl.vectors.recipe import coefficient, random_directions, unit_direction

CONTROL_KINDS = ("shuffled", "random-isotropic", "random-neutral")
"""Controls come in equal shares of these, in this order."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What is added, ready to be added."""

    record: ConditionRecord
    direction: Float[Tensor, " d_model"]
    """Unit length; zeros for the unsteered condition."""

    @property
    def steering(self) -> Steering:
        """The condition as the engine takes it."""
        return Steering(
            layer=self.record.layer,
            added=self.direction * self.record.coefficient,
            everywhere=self.record.positions == "all",
        )


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes the conditions of one readout; what all of them share."""

    vectors: EmotionVectors
    layer: int
    positions: Positions

    def condition(
        self, name: str, control: Control, vector: Float[Tensor, " d_model"], strength: Decimal
    ) -> Condition:
        if not vector.double().norm() > 0:
            raise VectorError(f"the vector of {name} at layer {self.layer} has no direction")
        direction = unit_direction(vector)
        text = strength_text(strength)
        record = ConditionRecord(
            id=condition_id(direction, self.layer, text, self.positions),
            vector=name,
            control=control,
            strength=text,
            layer=self.layer,
            positions=self.positions,
            coefficient=coefficient(strength, self.vectors.mean_norm[self.layer]),
        )
        return Condition(record, direction)

    def unsteered(self) -> Condition:
        digest = hashlib.sha256(UNSTEERED.encode()).hexdigest()[:12]
        record = ConditionRecord(f"c-{digest}", UNSTEERED, "none", "0", self.layer, "all", 0.0)
        return Condition(record, torch.zeros(self.vectors.provenance.d_model))

    def controls(self, n: int, strength: Decimal, seed: int) -> list[Condition]:
        """`n` controls in equal shares of the kinds. Imported vectors come without shuffled-label
        ones: their controls are random directions.

        Raises:
            ConfigError: more shuffled-label controls than the vectors file holds.
        """
        kinds = CONTROL_KINDS[1:] if self.vectors.provenance.imported else CONTROL_KINDS
        share = dict.fromkeys(CONTROL_KINDS, 0)
        share |= {kind: len(range(i, n, len(kinds))) for i, kind in enumerate(kinds)}
        if share["shuffled"] > len(self.vectors.shuffled):
            raise ConfigError(
                f"controls: {n} need {share['shuffled']} shuffled-label vectors; the file holds "
                f"{len(self.vectors.shuffled)}",
                hint=f"ask for at most {3 * len(self.vectors.shuffled)}",
            )
        emotions = self.vectors.vectors[:, self.layer]
        tokens = self.vectors.neutral_tokens[:, self.layer]
        drawn = {
            "shuffled": self.vectors.shuffled[: share["shuffled"], self.layer],
            "random-isotropic": random_directions(
                share["random-isotropic"], emotions, None, _seed(seed, "isotropic")
            ),
            "random-neutral": random_directions(
                share["random-neutral"], emotions, tokens, _seed(seed, "neutral")
            ),
        }
        return [
            self.condition(
                f"{kind}-{i:02d}",
                "shuffled" if kind == "shuffled" else "random",
                vector,
                strength,
            )
            for kind in CONTROL_KINDS
            for i, vector in enumerate(drawn[kind])
        ]


def make_conditions(
    vectors: EmotionVectors, config: ExperimentConfig, positions: Positions, n_controls: int
) -> list[Condition]:
    """Unsteered first, then every vector at every non-zero strength, then the controls.

    Raises:
        ConfigError: the layer is beyond the model, or too many controls are asked for.
        UnknownEmotionError: the config names an emotion that the vectors do not hold.
        VectorError: a vector has no direction.
    """
    maker = _Maker(vectors, steering_layer(vectors, config), positions)
    steered = [
        maker.condition(emotion, "none", vectors.vector(emotion, maker.layer), strength)
        for emotion in config.steering.vectors
        for strength in sorted(config.steering.strengths)
        if strength
    ]
    primary = config.primary_strength
    controls = maker.controls(n_controls, primary, config.seed) if primary and n_controls else []
    return [maker.unsteered(), *steered, *controls]


def steering_layer(vectors: EmotionVectors, config: ExperimentConfig) -> int:
    """The layer that the config asks for.

    Raises:
        ConfigError: the model has no such layer.
        VectorError: imported vectors lack it.
    """
    wanted, n_layers = config.steering.layer, vectors.provenance.n_layers
    layer = vectors.provenance.default_layer if wanted == "two-thirds" else wanted
    if layer >= n_layers:
        raise ConfigError(
            f"steering.layer is {layer}; the model has layers 0 to {n_layers - 1}",
            hint="choose one of them, or two-thirds",
        )
    vectors.require_layer(layer, "steering.layer")
    return layer


def condition_id(
    direction: Float[Tensor, " d_model"], layer: int, strength: str, positions: Positions
) -> str:
    """`c-` and 12 hex digits over everything that decides what is added."""
    content = direction.float().contiguous().numpy().tobytes()
    content += f"\x1f{layer}\x1f{strength}\x1f{positions}".encode()
    return "c-" + hashlib.sha256(content).hexdigest()[:12]


def _seed(seed: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
