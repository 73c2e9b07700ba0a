"""Readers that should read nothing, or nothing but words, on the folds and layers of the real one.

shuffled labels     the same recipe, labels permuted within each topic
random directions   a direction an emotion, drawn anew in each fold
token embeddings    the same recipe on what the words are before any block has run
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import encode
from emoctl.vectors.held_out import HeldOutScores, TopicFolds
from emoctl.vectors.recipe import NeutralBasis, permuted_within


def shuffled_label_scores(
    activations: Float[Tensor, "stories layers d_model"],
    real: HeldOutScores,
    basis: NeutralBasis,
    n_draws: int,
    seed: int,
) -> list[tuple[Float[Tensor, "stories emotions"], Int[Tensor, " stories"]]]:
    """For each draw: nested scores, and the permuted labels that they are to be held against."""
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(n_draws):
        own = permuted_within(real.own, real.fold, generator)
        scores = torch.zeros_like(real.nested)
        for layer in sorted(set(real.chosen_layers)):
            folds = TopicFolds(activations[:, layer], own, real.fold, basis.components[layer])
            for topic in _topics_at(real, layer):
                tested = real.fold == topic
                scores[tested] = folds.scores([topic], tested)
        draws.append((scores, own))
    return draws


def random_direction_scores(
    activations: Float[Tensor, "stories layers d_model"],
    real: HeldOutScores,
    basis: NeutralBasis,
    seed: int,
) -> Float[Tensor, "stories emotions"]:
    """Nested scores with isotropic directions in the place of vectors."""
    generator = torch.Generator().manual_seed(seed)
    n_emotions, d_model = real.scores.shape[2], activations.shape[2]
    scores = torch.zeros_like(real.nested)
    for topic, layer in enumerate(real.chosen_layers):
        tested = real.fold == topic
        drawn = torch.randn(n_emotions, d_model, generator=generator)
        at_layer = activations[:, layer]
        stories = at_layer[tested] - at_layer[~tested].mean(0)
        components = basis.components[layer]
        stories = stories - stories @ components.T @ components
        scores[tested] = normalize(stories, dim=-1) @ normalize(drawn, dim=-1).T
    return scores


@torch.inference_mode()
def embedding_means(
    model: LoadedModel, texts: Sequence[str], from_token: int
) -> Float[Tensor, "texts one d_model"]:
    """Mean input embedding of each text's tokens from `from_token` on, as one layer."""
    table = model.module.get_input_embeddings().weight
    means = torch.zeros(len(texts), 1, table.shape[1])
    for row, text in enumerate(texts):
        tokens = encode(model.tokenizer, text, special=True)[from_token:]
        means[row, 0] = table[torch.tensor(tokens, device=table.device)].float().mean(0).cpu()
    return means


def _topics_at(real: HeldOutScores, layer: int) -> list[int]:
    return [topic for topic, chosen in enumerate(real.chosen_layers) if chosen == layer]
