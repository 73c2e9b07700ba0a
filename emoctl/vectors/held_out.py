"""Do the vectors read stories on topics that they were not made from?

Each topic is left out in turn; vectors come from the others, and each left-out story is held
against every vector by the cosine of its centred activation. The layer at which a fold is read is
chosen inside it, from its training topics alone, by leaving out each of them as well:

    topics  a b c d …     fold a: vectors from b c d …            ─▶ scores of a's stories
                          layer of fold a: vectors from c d … read b, from b d … read c, …
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from emoctl.vectors.recipe import NeutralBasis


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Cosines of left-out stories with every emotion's vector."""

    scores: Float[Tensor, "layers stories emotions"]
    own: Int[Tensor, " stories"]
    """The emotion of each story."""

    fold: Int[Tensor, " stories"]
    """The left-out topic that each story belongs to, as an index into `chosen_layers`."""

    chosen_layers: tuple[int, ...]
    """The layer that each fold chose, in the order of topics."""

    def by_layer(self, k: int = 1) -> tuple[float, ...]:
        """Share of stories whose own emotion is among the `k` nearest, at every layer."""
        return tuple(
            float((ranks_of(at_layer, self.own) < k).float().mean()) for at_layer in self.scores
        )

    @property
    def nested(self) -> Float[Tensor, "stories emotions"]:
        """Scores at the layer that was chosen inside each story's fold."""
        layers = torch.tensor(self.chosen_layers)[self.fold]
        return self.scores[layers, torch.arange(len(self.own))]


def ranks_of(
    scores: Float[Tensor, "stories emotions"], own: Int[Tensor, " stories"]
) -> Int[Tensor, " stories"]:
    """How many emotions score at least as high as a story's own: 0 where its own is nearest. A
    tie counts against it, so that scores that are all equal are never right."""
    mine = scores.gather(1, own[:, None])
    return (scores >= mine).sum(1) - 1


def held_out_scores(
    activations: Float[Tensor, "stories layers d_model"],
    labels: Sequence[int],
    topics: Sequence[int],
    basis: NeutralBasis,
) -> HeldOutScores:
    """Leave-one-topic-out scores at every layer, and the layer that each fold chooses.

    Raises:
        ValueError: fewer than three topics, or an emotion whose stories share two topics.
    """
    n_topics = len(set(topics))
    if n_topics < 3:
        raise ValueError("held-out accuracy needs at least three topics")
    own, fold = torch.tensor(list(labels)), _as_indices(topics)
    scores, right_inside = [], []
    for layer, components in enumerate(basis.components):
        folds = TopicFolds(activations[:, layer], own, fold, components)
        scores.append(folds.outer_scores())
        right_inside.append(folds.right_inside())
    chosen = torch.stack(right_inside).argmax(0)
    return HeldOutScores(torch.stack(scores), own, fold, tuple(chosen.tolist()))


class TopicFolds:
    """One layer's stories, and vectors made from all topics but some.

    Sums over emotion × topic are taken once; leaving topics out is a subtraction.
    """

    def __init__(
        self,
        at_layer: Float[Tensor, "stories d_model"],
        own: Int[Tensor, " stories"],
        fold: Int[Tensor, " stories"],
        components: Float[Tensor, "k d_model"],
    ) -> None:
        self.at_layer, self.own, self.fold, self.components = at_layer, own, fold, components
        self.n_emotions, self.n_topics = int(own.max()) + 1, int(fold.max()) + 1
        cells = own * self.n_topics + fold
        shape = (self.n_emotions, self.n_topics)
        sums = torch.zeros(self.n_emotions * self.n_topics, at_layer.shape[1], dtype=torch.float64)
        self.sums = sums.index_add_(0, cells, at_layer.double()).view(*shape, -1)
        self.counts = torch.bincount(cells, minlength=len(sums)).view(shape)
        self.all_sums, self.all_counts = self.sums.sum(1), self.counts.sum(1)

    def scores(
        self, left_out: Sequence[int], tested: Bool[Tensor, " stories"]
    ) -> Float[Tensor, "tested emotions"]:
        """Cosines of the tested stories with vectors from all topics that are not left out.

        Raises:
            ValueError: an emotion has no story then.
        """
        means = self._means(self.all_counts, self.all_sums, list(left_out))
        centre = means.mean(0)
        vectors = self._without_neutral(means - centre)
        stories = self._without_neutral(self.at_layer[tested] - centre)
        return normalize(stories, dim=-1) @ normalize(vectors, dim=-1).T

    def vectors(self, kept: Sequence[int]) -> Float[Tensor, "emotions d_model"]:
        """Emotion vectors from the stories of some topics.

        Raises:
            ValueError: an emotion has no story there.
        """
        counts, sums = self.counts[:, list(kept)].sum(1), self.sums[:, list(kept)].sum(1)
        means = self._means(counts, sums, [])
        return self._without_neutral(means - means.mean(0))

    def held_by(self, kept: Sequence[int]) -> Bool[Tensor, " emotions"]:
        """Which emotions have a story on one of these topics."""
        return self.counts[:, list(kept)].sum(1) > 0

    def outer_scores(self) -> Float[Tensor, "stories emotions"]:
        """Every story's scores, with its own topic left out."""
        scores = torch.zeros(len(self.own), self.n_emotions)
        for topic in range(self.n_topics):
            tested = self.fold == topic
            scores[tested] = self.scores([topic], tested)
        return scores

    def right_inside(self) -> Int[Tensor, " topics"]:
        """For each topic: stories of the others read right by vectors from all but both."""
        right = torch.zeros(self.n_topics, dtype=torch.int64)
        for pair in combinations(range(self.n_topics), 2):
            tested = (self.fold == pair[0]) | (self.fold == pair[1])
            ranks = ranks_of(self.scores(pair, tested), self.own[tested])
            here = self.fold[tested]
            for outer, inner in (pair, pair[::-1]):
                right[outer] += int((ranks[here == inner] == 0).sum())
        return right

    def _means(
        self,
        counts: Int[Tensor, " emotions"],
        sums: Float[Tensor, "emotions d_model"],
        left_out: list[int],
    ) -> Float[Tensor, "emotions d_model"]:
        counts = counts - self.counts[:, left_out].sum(1)
        if (counts == 0).any():
            raise ValueError(f"emotion {int((counts == 0).nonzero()[0, 0])} has no story")
        sums = sums - self.sums[:, left_out].sum(1)
        return (sums / counts[:, None]).float()

    def _without_neutral(self, rows: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        return rows - rows @ self.components.T @ self.components


def _as_indices(names: Sequence[int]) -> Int[Tensor, " n"]:
    distinct = sorted(set(names))
    return torch.tensor([distinct.index(name) for name in names])
