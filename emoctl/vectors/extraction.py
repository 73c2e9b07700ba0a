"""Extraction from end to end: model + corpus + recipe → a vectors file in the cache.

Where the file stands is `emoctl.vectors.cached`'s to say.
"""

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from emoctl import __version__
from emoctl.config.schema import RecipeConfig
from emoctl.errors import StoriesError
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
        StoriesError: a text is too short for the recipe, or one neutral text alone is to vary.
        VectorError: the file cannot be written, or a vector is degenerate.
    """
    if len(corpus.neutral) < 2 and recipe.neutral_level == "text" and recipe.neutral_variance:
        raise StoriesError(
            f"{len(corpus.neutral)} neutral text has no variance to project out",
            hint="give more neutral texts, or set recipe.neutral_variance to 0",
        )
    stories = label_stories(corpus)
    activations = kept_text_means(model, stories.texts, recipe.from_token, on_text, fresh=fresh)
    neutral = kept_neutral_activations(
        model,
        sorted(t.text for t in corpus.neutral),
        recipe.from_token,
        token_covariance=recipe.neutral_level == "token",
        on_text=on_text,
        fresh=fresh,
    )
    basis = make_basis(neutral, recipe)
    labels, topics = stories.emotion_of, stories.topic_of
    held_out = _held_out(activations, stories, basis) if stories.can_be_held_out else None
    vectors = EmotionVectors(
        vectors=centred_vectors(emotion_means(activations, labels, len(stories.emotions)), basis),
        shuffled=shuffled_vectors(activations, labels, topics, basis, N_SHUFFLED, SHUFFLE_SEED),
        neutral_tokens=neutral.tokens,
        mean_norm=neutral.mean_norm,
        provenance=_provenance(
            model, corpus, recipe, stories.emotions, basis, neutral.n_norm_tokens, held_out
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
        emotions=emotions,
        recipe=recipe.model_dump(),
        neutral_components=tuple(len(c) for c in basis.components),
        neutral_shares=basis.shares,
        norm_text_set=f"the corpus' {len(corpus.neutral)} neutral texts, "
        f"without the first {SINK_POSITIONS} tokens of each",
        n_norm_tokens=n_norm_tokens,
        held_out=held_out,
    )


def _held_out(
    activations: Float[Tensor, "stories layers d_model"],
    stories: LabelledStories,
    basis: NeutralBasis,
) -> HeldOut:
    """How well the vectors read topics that they were not made from, and how reliable they are."""
    labels, topics = stories.emotion_of, stories.topic_of
    scores = held_out_scores(activations, labels, topics, basis)
    halves = split_half_cosines(activations, labels, topics, basis)
    nested = ranks_of(scores.nested, scores.own)
    return HeldOut(
        by_layer=scores.by_layer(),
        nested=float((nested == 0).float().mean()),
        nested_top5=float((nested < 5).float().mean()),
        chosen_layers=scores.chosen_layers,
        split_half=tuple(halves.mean(0).median(0).values.tolist()),
        recommended_layer=recommend_layer(scores.by_layer(), len(stories.stories), halves),
        n_stories=len(stories.stories),
        n_classes=len(stories.emotions),
    )
