"""Extraction from end to end: model + corpus + recipe → a vectors file in the cache.

Where the file stands is `emoctl.vectors.cached`'s to say.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl import __version__
from emoctl.config.schema import RecipeConfig
from emoctl.errors import ConfigError, StoriesError
from emoctl.models.hook_points import two_thirds_layer
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus
from emoctl.stories.labels import LabelledStories, label_stories
from emoctl.vectors.activations import SINK_POSITIONS
from emoctl.vectors.basis import make_basis
from emoctl.vectors.cached import N_SHUFFLED, SHUFFLE_SEED
from emoctl.vectors.files import EmotionVectors, check_vectors, save_vectors
from emoctl.vectors.held_out import held_out_scores, ranks_of
from emoctl.vectors.kept import kept_neutral_activations, kept_text_means
from emoctl.vectors.provenance import HeldOut, Provenance
from emoctl.vectors.recipe import (
    NeutralBasis,
    centred_vectors,
    emotion_means,
    shuffled_vectors,
)
from emoctl.vectors.recommendation import recommend_layer
from emoctl.vectors.reliability import split_half_cosines


def extract(
    model: LoadedModel,
    corpus: Corpus,
    recipe: RecipeConfig,
    path: Path,
    on_text: Callable[[int], None] = lambda _n: None,
    *,
    fresh: bool = False,
) -> EmotionVectors:
    """Make the vectors and write them to `path`. `on_text` is told how many texts are done;
    activations that the cache keeps are not computed again, unless `fresh`.

    Raises:
        ConfigError: the recipe names a layer that the model does not have.
        StoriesError: a text is too short for the recipe, or one neutral text alone is to vary.
        VectorError: the file cannot be written, or a vector is degenerate.
    """
    if len(corpus.neutral) < 2 and recipe.neutral_level == "text" and recipe.neutral_variance:
        raise StoriesError(
            f"{len(corpus.neutral)} neutral text has no variance to project out",
            hint="give more neutral texts, or set recipe.neutral_variance to 0",
        )
    layers = wanted_layers(recipe, model.n_layers)
    stories = label_stories(corpus)
    activations = kept_text_means(
        model, stories.texts, recipe.from_token, on_text, layers=layers, fresh=fresh
    )
    neutral = kept_neutral_activations(
        model,
        sorted(t.text for t in corpus.neutral),
        recipe.from_token,
        token_covariance=recipe.neutral_level == "token",
        layers=layers,
        on_text=on_text,
        fresh=fresh,
    )
    basis = make_basis(neutral, recipe)
    labels, topics = stories.emotion_of, stories.topic_of
    means = emotion_means(activations, labels, len(stories.emotions))
    shuffled = shuffled_vectors(activations, labels, topics, basis, N_SHUFFLED, SHUFFLE_SEED)

    def spread(tensor: Tensor, dim: int = 1) -> Tensor:
        """With zeros at the layers that were not wanted."""
        if layers is None:
            return tensor
        shape = (*tensor.shape[:dim], model.n_layers, *tensor.shape[dim + 1 :])
        return torch.zeros(shape).index_copy_(dim, torch.tensor(layers), tensor)

    vectors = EmotionVectors(
        vectors=spread(centred_vectors(means, basis)),
        shuffled=spread(shuffled),
        neutral_tokens=spread(neutral.tokens),
        mean_norm=spread(neutral.mean_norm, 0),
        provenance=_provenance(
            model,
            corpus,
            recipe,
            stories.emotions,
            basis,
            neutral.n_norm_tokens,
            _held_out(activations, stories, basis, layers) if stories.can_be_held_out else None,
            layers,
        ),
    )
    check_vectors(vectors, "extraction")
    save_vectors(vectors, path)
    return vectors


def _provenance(
    model: LoadedModel,
    corpus: Corpus,
    recipe: RecipeConfig,
    emotions: tuple[str, ...],
    basis: NeutralBasis,
    n_norm_tokens: int,
    held_out: HeldOut | None,
    layers: tuple[int, ...] | None,
) -> Provenance:
    """Everything that decided what the vectors are."""
    return Provenance(
        emoctl_version=__version__,
        model=model.identity,
        dtype=str(model.dtype).removeprefix("torch."),
        n_layers=model.n_layers,
        d_model=model.d_model,
        default_layer=two_thirds_layer(model.n_layers),
        corpus_sha256=corpus.digest,
        n_stories=len(corpus.stories),
        n_neutral=len(corpus.neutral),
        written_by=corpus.written_by,
        emotions=emotions,
        recipe=recipe.model_dump(),
        neutral_components=tuple(len(c) for c in basis.components),
        neutral_shares=basis.shares,
        norm_text_set=f"the corpus' {len(corpus.neutral)} neutral texts, "
        f"without the first {SINK_POSITIONS} tokens of each",
        n_norm_tokens=n_norm_tokens,
        held_out=held_out,
        only_layers=layers,
    )


def wanted_layers(recipe: RecipeConfig, n_layers: int) -> tuple[int, ...] | None:
    """The layers that a recipe names, in order; None for all of them.

    Raises:
        ConfigError: the model has no such layer.
    """
    if recipe.layers == "all":
        return None
    if max(recipe.layers) >= n_layers:
        raise ConfigError(
            f"recipe.layers names {max(recipe.layers)}; the model has layers 0 to {n_layers - 1}",
            hint="name layers that it has, or all",
        )
    return tuple(sorted(recipe.layers))


def _held_out(
    activations: Float[Tensor, "stories layers d_model"],
    stories: LabelledStories,
    basis: NeutralBasis,
    layers: tuple[int, ...] | None,
) -> HeldOut:
    """How well the vectors read topics that they were not made from, and how reliable they are."""
    labels, topics = stories.emotion_of, stories.topic_of
    scores = held_out_scores(activations, labels, topics, basis)
    halves = split_half_cosines(activations, labels, topics, basis)
    nested = ranks_of(scores.nested, scores.own)
    names = layers or tuple(range(activations.shape[1]))
    reliability, advised = None, None
    if halves is not None:
        reliability = tuple(halves.mean(0).median(0).values.tolist())
        advised = names[recommend_layer(scores.by_layer(), len(stories.stories), halves)]
    return HeldOut(
        by_layer=scores.by_layer(),
        nested=float((nested == 0).float().mean()),
        nested_top5=float((nested < 5).float().mean()),
        chosen_layers=tuple(names[i] for i in scores.chosen_layers),
        split_half=reliability,
        recommended_layer=advised,
        n_stories=len(stories.stories),
        n_classes=len(stories.emotions),
    )
