"""Do the vectors read stories on topics that they were not made from?

Each topic is left out in turn; vectors come from the others, and each left-out story is given to
the vector with which its centred activation has the largest cosine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoctl.vectors.recipe import NeutralBasis, centred_vectors, emotion_means


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Share of left-out stories that went to their own emotion."""

    by_layer: tuple[float, ...]
    nested: float
    """With the layer chosen inside each fold, from its training topics alone."""

    chosen_layers: tuple[int, ...]
    """The layer that each fold chose, in the order of topics."""

    n_stories: int
    n_classes: int


def held_out_accuracy(
    activations: Float[Tensor, "stories layers d_model"],
    labels: Sequence[int],
    topics: Sequence[int],
    basis: NeutralBasis,
) -> HeldOutAccuracy:
    """Leave-one-topic-out accuracy, at every layer and with the layer chosen inside each fold.

    Raises:
        ValueError: fewer than three topics, or an emotion whose stories share one topic.
    """
    label, topic = torch.tensor(list(labels)), torch.tensor(list(topics))
    folds = sorted(set(topics))
    if len(folds) < 3:
        raise ValueError("held-out accuracy needs at least three topics")
    right = torch.zeros(len(label), activations.shape[1], dtype=torch.bool)
    nested = torch.zeros(len(label), dtype=torch.bool)
    chosen = []
    for fold in folds:
        held = topic == fold
        right[held] = _reads(activations, label, ~held, held, basis)
        inner = torch.zeros(activations.shape[1])
        for other in folds:
            if other != fold:
                test = topic == other
                inner += _reads(activations, label, ~held & ~test, test, basis).sum(0)
        layer = int(inner.argmax())
        nested[held] = right[held, layer]
        chosen.append(layer)
    return HeldOutAccuracy(
        by_layer=tuple(right.float().mean(0).tolist()),
        nested=float(nested.float().mean()),
        chosen_layers=tuple(chosen),
        n_stories=len(label),
        n_classes=len(set(labels)),
    )


def _reads(
    activations: Float[Tensor, "stories layers d_model"],
    label: Tensor,
    train: Bool[Tensor, " stories"],
    test: Bool[Tensor, " stories"],
    basis: NeutralBasis,
) -> Bool[Tensor, "held layers"]:
    """Whether each test story's nearest vector is its own emotion's, at every layer."""
    means = emotion_means(activations[train], label[train].tolist(), int(label.max()) + 1)
    vectors = centred_vectors(means, basis)
    held = basis.remove(activations[test] - means.mean(0))
    cosines = torch.einsum(
        "sld,eld->sle",
        torch.nn.functional.normalize(held, dim=-1),
        torch.nn.functional.normalize(vectors, dim=-1),
    )
    return cosines.argmax(-1) == label[test][:, None]
