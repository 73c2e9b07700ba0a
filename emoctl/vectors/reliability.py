"""Split halves: is an emotion's vector the same when it is made from the other half of the topics?

Halves are of topics, so that two halves share no plot. What is compared are whole vectors, each
centred on its own half.
"""

from collections.abc import Sequence
from itertools import combinations
from random import Random

import torch
from jaxtyping import Float
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
) -> Float[Tensor, "splits emotions layers"]:
    """Cosine of each emotion's two half vectors, for each way of halving the topics.

    All ways where there are at most `MOST_SPLITS`; as many, drawn without replacement, otherwise.

    Raises:
        ValueError: fewer than two topics, or an emotion without a story in one half.
    """
    n_topics = max(topics) + 1
    if n_topics < 2:
        raise ValueError("split halves need two topics")
    own, fold = torch.tensor(list(labels)), torch.tensor(list(topics))
    splits = halves(n_topics)
    by_layer = []
    for layer, components in enumerate(basis.components):
        folds = TopicFolds(activations[:, layer], own, fold, components)
        cosines = []
        for half in splits:
            rest = [topic for topic in range(n_topics) if topic not in half]
            cosines.append(cosine_similarity(folds.vectors(half), folds.vectors(rest), dim=-1))
        by_layer.append(torch.stack(cosines))
    return torch.stack(by_layer, dim=-1)


def halves(n_topics: int) -> list[tuple[int, ...]]:
    """One half of each split; the topics that are not in it are the other."""
    ways = list(combinations(range(n_topics), n_topics // 2))
    if n_topics % 2 == 0:
        ways = ways[: len(ways) // 2]  # the second half of the list mirrors the first
    return ways if len(ways) <= MOST_SPLITS else Random(SEED).sample(ways, MOST_SPLITS)
