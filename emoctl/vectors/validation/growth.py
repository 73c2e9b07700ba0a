"""How much better vectors read when they are made from more stories."""

from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from emoctl.vectors.held_out import ranks_of
from emoctl.vectors.recipe import NeutralBasis, centred_vectors, emotion_means
from emoctl.vectors.validation.measurements import Growth


def read_with_fewer(
    activations: Float[Tensor, "stories d_model"],
    labels: Sequence[int],
    topics: Sequence[int],
    basis: NeutralBasis,
    further: Float[Tensor, "further d_model"],
    further_labels: Sequence[int],
    sizes: Sequence[int],
    n_draws: int,
    seed: int,
) -> list[Growth]:
    """At one layer: vectors from some of the topics, held against stories on quite other topics.

    `basis` is of that one layer. Each size is drawn `n_draws` times; all topics, once. Draws that
    leave an emotion without a story are left out, and so is a size with no other.
    """
    random, topic = Random(seed), torch.tensor(list(topics))
    label, own = torch.tensor(list(labels)), torch.tensor(list(further_labels))
    distinct, n_emotions = sorted(set(topics)), int(label.max()) + 1
    grown = []
    for size in sizes:
        ranks = []
        for _ in range(n_draws if size < len(distinct) else 1):
            drawn = random.sample(distinct, size)
            kept = torch.isin(topic, torch.tensor(drawn))
            if len(label[kept].unique()) < n_emotions:
                continue
            at_layer = activations[kept][:, None]
            means = emotion_means(at_layer, label[kept].tolist(), n_emotions)
            vectors = centred_vectors(means, basis)[:, 0]
            held = basis.remove((further - means[:, 0].mean(0))[:, None])[:, 0]
            scores = normalize(held, dim=-1) @ normalize(vectors, dim=-1).T
            ranks.append(ranks_of(scores, own))
        if ranks:
            grown.append(Growth(size, torch.stack(ranks).numpy()))
    return grown
