"""Differences of means, read in coordinates in which stories of one emotion vary alike everywhere.

That is linear discriminant analysis with a shrunk covariance, without the projection of neutral
components. It is one linear reader, and no upper bound; steering adds the plain vectors.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from emoctl.vectors.held_out import HeldOutScores

SHRINKAGE = 0.5
"""Weight of a sphere of the same trace in the covariance; fixed, and not tuned inside folds."""


def whitened_scores(
    activations: Float[Tensor, "stories layers d_model"], real: HeldOutScores
) -> Float[Tensor, "stories emotions"]:
    """Nested scores: at each fold's own layer, with a covariance of its training stories alone."""
    scores = torch.zeros_like(real.nested)
    n_emotions = real.scores.shape[2]
    for topic, layer in enumerate(real.chosen_layers):
        tested = real.fold == topic
        at_layer = activations[:, layer].double()
        means = _means(at_layer[~tested], real.own[~tested], n_emotions)
        root = _root(at_layer[~tested], real.own[~tested], real.fold[~tested])
        vectors = _whiten(root, means - means.mean(0))
        stories = _whiten(root, at_layer[tested] - means.mean(0))
        scores[tested] = (normalize(stories, dim=-1) @ normalize(vectors, dim=-1).T).float()
    return scores


def _root(
    rows: Float[Tensor, "stories d_model"], own: Tensor, fold: Tensor
) -> Float[Tensor, "d_model d_model"]:
    """Cholesky root of the covariance that is left within emotions and within topics."""
    emotions = _means(rows, own, int(own.max()) + 1)[own]
    topics = _means(rows, fold, int(fold.max()) + 1)[fold]
    rest = rows - emotions - topics + rows.mean(0)
    covariance = rest.T @ rest / len(rest)
    sphere = torch.eye(len(covariance), dtype=rows.dtype) * covariance.trace() / len(covariance)
    return torch.linalg.cholesky((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere)


def _means(
    rows: Float[Tensor, "stories d_model"], groups: Tensor, n_groups: int
) -> Float[Tensor, "groups d_model"]:
    sums = torch.zeros(n_groups, rows.shape[1], dtype=rows.dtype).index_add_(0, groups, rows)
    return sums / torch.bincount(groups, minlength=n_groups).clamp_min(1)[:, None]


def _whiten(
    root: Float[Tensor, "d_model d_model"], rows: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_model"]:
    return torch.linalg.solve_triangular(root, rows.T, upper=False).T
