"""Activations → emotion vectors, as arithmetic: no model, no files.

    stories' activations ─▶ mean of each emotion ─▶ minus the mean of the emotions' means
                                                  ─▶ minus its part along neutral directions

Source: arXiv 2604.07729, methods. The mean of emotion means is taken over the whole corpus, so
that choosing fewer emotions afterwards does not change any vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NeutralBasis:
    """Directions along which neutral texts vary, to be projected out; one set a layer."""

    components: tuple[Float[Tensor, "_ d_model"], ...]
    """Orthonormal rows, by layer; k may differ between layers."""

    shares: tuple[float, ...]
    """Share of the neutral variance that they hold, by layer; 0 for none."""

    def remove(
        self, vectors: Float[Tensor, "n layers d_model"]
    ) -> Float[Tensor, "n layers d_model"]:
        """`vectors` without their parts along the components."""
        cleaned = vectors.clone()
        for layer, basis in enumerate(self.components):
            cleaned[:, layer] -= vectors[:, layer] @ basis.T @ basis
        return cleaned


def emotion_means(
    activations: Float[Tensor, "stories layers d_model"], labels: Sequence[int], n_labels: int
) -> Float[Tensor, "emotions layers d_model"]:
    """Mean of each emotion's stories, every story weighing the same.

    Raises:
        ValueError: an emotion has no story.
    """
    index = torch.tensor(list(labels))
    counts = torch.bincount(index, minlength=n_labels)
    if (counts == 0).any():
        raise ValueError(f"emotion {int((counts == 0).nonzero()[0, 0])} has no story")
    sums = torch.zeros(n_labels, *activations.shape[1:], dtype=torch.float64)
    sums.index_add_(0, index, activations.double())
    return (sums / counts[:, None, None]).float()


def neutral_basis(
    neutral: Float[Tensor, "observations layers d_model"],
    variance: float,
    n_components: int | None = None,
) -> NeutralBasis:
    """The fewest top principal components that reach `variance`, or exactly `n_components`.

    Components are those of the centred observations, in float64, layer by layer.
    """
    components, shares = [], []
    for layer in range(neutral.shape[1]):
        at_layer = neutral[:, layer].double()
        centred = at_layer - at_layer.mean(0)
        _, singular, rows = torch.linalg.svd(centred, full_matrices=False)
        basis, share = _top(singular**2, rows, variance, n_components)
        components.append(basis)
        shares.append(share)
    return NeutralBasis(tuple(components), tuple(shares))


def covariance_basis(
    covariance: Float[Tensor, "layers d_model d_model"],
    variance: float,
    n_components: int | None = None,
) -> NeutralBasis:
    """As `neutral_basis`, from a covariance over tokens."""
    components, shares = [], []
    for layer in range(covariance.shape[0]):
        values, columns = torch.linalg.eigh(covariance[layer].double())
        basis, share = _top(values.flip(0).clamp_min(0), columns.flip(1).T, variance, n_components)
        components.append(basis)
        shares.append(share)
    return NeutralBasis(tuple(components), tuple(shares))


def _top(
    spectrum: Float[Tensor, " n"],
    rows: Float[Tensor, "n d_model"],
    variance: float,
    n_components: int | None,
) -> tuple[Float[Tensor, "k d_model"], float]:
    total = spectrum.sum()
    if not total > 0:  # nothing varies, so there is no direction in which it does
        return rows[:0].float(), 0.0
    cumulative = spectrum.cumsum(0) / total
    if n_components is not None:
        k = min(n_components, len(rows))
    elif variance == 0:
        k = 0
    else:
        k = min(int((cumulative < variance).sum()) + 1, len(rows))
    return rows[:k].float(), float(cumulative[k - 1]) if k else 0.0


def centred_vectors(
    means: Float[Tensor, "emotions layers d_model"], basis: NeutralBasis
) -> Float[Tensor, "emotions layers d_model"]:
    """Emotion vectors: means minus the mean of means, neutral directions projected out."""
    return basis.remove(means - means.mean(0))


def shuffled_vectors(
    activations: Float[Tensor, "stories layers d_model"],
    labels: Sequence[int],
    topics: Sequence[int],
    basis: NeutralBasis,
    n_vectors: int,
    seed: int,
) -> Float[Tensor, "n layers d_model"]:
    """Vectors of emotions that do not exist: labels permuted within each topic.

    Each comes from a permutation of its own, by the same recipe, so it has everything an emotion
    vector has but the emotion.
    """
    generator = torch.Generator().manual_seed(seed)
    own, topic = torch.tensor(list(labels)), torch.tensor(list(topics))
    counts = torch.bincount(own).double()
    weights = torch.zeros(n_vectors, len(own), dtype=torch.float64)
    for row in weights:
        permuted = permuted_within(own, topic, generator)
        row += (permuted == 0) / counts[0]  # the mean of emotion 0 …
        row -= 1 / (len(counts) * counts[permuted])  # … minus the mean of all emotions' means
    by_layer = [weights @ activations[:, i].double() for i in range(activations.shape[1])]
    return basis.remove(torch.stack(by_layer, dim=1).float())


def permuted_within(
    labels: Int[Tensor, " stories"], topics: Int[Tensor, " stories"], generator: torch.Generator
) -> Int[Tensor, " stories"]:
    """Labels in another order, each topic keeping its own."""
    permuted = labels.clone()
    for topic in topics.unique().tolist():
        where = (topics == topic).nonzero()[:, 0]
        permuted[where] = labels[where[torch.randperm(len(where), generator=generator)]]
    return permuted


def unit_direction(vector: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """`vector` at unit length, in float32. A zero vector has no direction: callers refuse it."""
    wide = vector.double()
    return (wide / float(wide.norm())).float()


def coefficient(strength: Decimal, mean_norm: Float[Tensor, ""]) -> float:
    """How long the addition is: strength × mean residual norm."""
    return float(strength) * float(mean_norm)


def random_directions(
    n: int,
    outside: Float[Tensor, "emotions d_model"],
    neutral_tokens: Float[Tensor, "tokens d_model"] | None,
    seed: int,
) -> Float[Tensor, "n d_model"]:
    """Unit directions orthogonal to every emotion vector in `outside`.

    Isotropic where `neutral_tokens` is None; else drawn from the covariance of those activations,
    so that they point where residual streams really vary.
    """
    generator = torch.Generator().manual_seed(seed)
    if neutral_tokens is None:
        drawn = torch.randn(n, outside.shape[1], generator=generator, dtype=torch.float64)
    else:
        centred = neutral_tokens.double() - neutral_tokens.double().mean(0)
        weights = torch.randn(n, len(centred), generator=generator, dtype=torch.float64)
        drawn = weights @ centred
    _, singular, rows = torch.linalg.svd(outside.double(), full_matrices=False)
    span = rows[singular > singular[0] * 1e-6]
    drawn = drawn - drawn @ span.T @ span
    return (drawn / drawn.norm(dim=-1, keepdim=True)).float()
