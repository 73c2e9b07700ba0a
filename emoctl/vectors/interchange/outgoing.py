"""Emotion vectors → what a file of another program is to hold: which, where, and how long."""

from collections.abc import Sequence
from decimal import Decimal

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.config.strengths import strength_text
from emoctl.errors import UsageError
from emoctl.vectors.files import EmotionVectors, ranges
from emoctl.vectors.interchange.bundle import Bundle, Statement
from emoctl.vectors.recipe import coefficient, unit_direction


def make_bundle(
    vectors: EmotionVectors,
    emotions: Sequence[str],
    layers: Sequence[int],
    *,
    unit: bool = False,
    strength: Decimal | None = None,
) -> Bundle:
    """The vectors as they are stored; at unit length; or as the directions that a condition of
    this strength adds, with its coefficients.

    Raises:
        UnknownEmotionError: the vectors do not hold an emotion.
        VectorError: they do not hold a layer.
    """
    chosen = [[vectors.vector(e, layer) for layer in layers] for e in emotions]
    if unit or strength is not None:
        chosen = [[unit_direction(vector) for vector in row] for row in chosen]
    norms = [vectors.mean_norm[layer] for layer in layers]
    factors = [1.0 if strength is None else coefficient(strength, norm) for norm in norms]
    return Bundle(
        vectors=_stack(chosen),
        layers=tuple(layers),
        factors=tuple(factors),
        emotions=tuple(emotions),
        statement=Statement(
            emotions=tuple(emotions),
            layers=tuple(layers),
            mean_norm=tuple(map(float, norms)),
            length="strength" if strength is not None else "unit" if unit else "stored",
            strength=None if strength is None else strength_text(strength),
            provenance=vectors.provenance,
        ),
    )


def parse_layers(text: str, vectors: EmotionVectors) -> tuple[int, ...]:
    """The layers that `--layers` names: `default`, `all`, `12`, `3,12`, or `10:20`, both ends
    included.

    Raises:
        UsageError: the text lists no layers, or one that the vectors lack.
    """
    held = vectors.provenance.layers
    if text == "all":
        return held
    if text == "default":
        default = vectors.provenance.default_layer
        return (default,) if default in held or len(held) > 1 else held
    wanted = sorted({layer for part in text.split(",") for layer in _range(part, text)})
    absent = [layer for layer in wanted if layer not in held]
    if absent or not wanted:
        missing = f"there is no layer {absent[0]}" if absent else "it lists none"
        raise UsageError(
            f"--layers {text!r}: {missing}", hint=f"the file holds layers {ranges(held)}"
        )
    return tuple(wanted)


def _range(part: str, text: str) -> range:
    bounds = [bound.strip() for bound in part.split(":")]
    if len(bounds) > 2 or not all(b.isascii() and b.isdigit() and len(b) < 6 for b in bounds):
        raise UsageError(
            f"--layers {text!r}: {part.strip()!r} is no layer",
            hint="write default, all, 12, 3,12 or 10:20 (both ends included)",
        )
    return range(int(bounds[0]), int(bounds[-1]) + 1)


def _stack(rows: Sequence[Sequence[Tensor]]) -> Float[Tensor, "emotions layers d_model"]:
    return torch.stack([torch.stack(list(row)) for row in rows])
