"""Split halves: is an emotion's vector the same when it is made from the other half of the topics?

Halves are of topics, so that two halves share no plot. What is compared are whole vectors, each
centred on its own half.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from random import Random

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from emoctl.vectors.held_out import TopicFolds
from emoctl.vectors.recipe import NeutralBasis

MOST_SPLITS = 100
SEED = 171


def split_half_cosines(
    activations: Float[Tensor, "stories layers d_model"],
    labels: Sequence[int],
    topics: Sequence[int],
    basis: NeutralBasis,
) -> Float[Tensor, "splits emotions layers"] | None:
    """Cosine of each emotion's two half vectors, for each way of halving the topics.

    All ways where there are at most `MOST_SPLITS`; as many, drawn without replacement, otherwise.
    A split that leaves an emotion without a story in one half is left out for all of them; None
    where every split does.
    """
    n_topics = max(topics) + 1
    own, fold = torch.tensor(list(labels)), torch.tensor(list(topics))
    splits = usable_halves(own, fold)
    if not splits:
        return None
    by_layer = []
    for layer, components in enumerate(basis.components):
        folds = TopicFolds(activations[:, layer], own, fold, components)
        cosines = []
        for half in splits:
            rest = [topic for topic in range(n_topics) if topic not in half]
            cosines.append(cosine_similarity(folds.vectors(half), folds.vectors(rest), dim=-1))
        by_layer.append(torch.stack(cosines))
    return torch.stack(by_layer, dim=-1)


def usable_halves(
    own: Int[Tensor, " stories"], fold: Int[Tensor, " stories"]
) -> list[tuple[int, ...]]:
    """The halves that leave every emotion a story on both sides."""
    n_emotions, n_topics = int(own.max()) + 1, int(fold.max()) + 1
    there = torch.zeros(n_emotions, n_topics, dtype=torch.bool)
    there[own, fold] = True

    def whole(half: tuple[int, ...]) -> bool:
        rest = [topic for topic in range(n_topics) if topic not in half]
        return bool(there[:, list(half)].any(1).all() and there[:, rest].any(1).all())

    return [half for half in halves(n_topics) if whole(half)]


def halves(n_topics: int) -> list[tuple[int, ...]]:
    """One half of each split; the topics that are not in it are the other."""
    size = n_topics // 2
    mirrored = 2 if n_topics % 2 == 0 else 1
    if comb(n_topics, size) // mirrored <= MOST_SPLITS:
        ways = list(combinations(range(n_topics), size))
        return ways[: len(ways) // mirrored]  # the second half of the list mirrors the first
    random, drawn = Random(SEED), dict[tuple[int, ...], None]()
    while len(drawn) < MOST_SPLITS:
        half = set(random.sample(range(n_topics), size))
        if mirrored == 2 and 0 not in half:
            half = set(range(n_topics)) - half
        drawn[tuple(sorted(half))] = None
    return list(drawn)
