"""Extraction from end to end: model + corpus + recipe → a vectors file in the cache.

Where the file stands is `emoctl.vectors.cached`'s to say.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from emoctl import __version__
from emoctl.config.schema import RecipeConfig
from emoctl.errors import StoriesError
from emoctl.models.hook_points import two_thirds_layer
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus
from emoctl.vectors.activations import (
    SINK_POSITIONS,
    NeutralActivations,
    neutral_activations,
    text_means,
)
from emoctl.vectors.cached import N_SHUFFLED, SHUFFLE_SEED
from emoctl.vectors.files import (
    EmotionVectors,
    HeldOut,
    Provenance,
    check_vectors,
    save_vectors,
)
from emoctl.vectors.held_out import held_out_accuracy
from emoctl.vectors.recipe import (
    NeutralBasis,
    centred_vectors,
    covariance_basis,
    emotion_means,
    neutral_basis,
    shuffled_vectors,
)


def extract(
    model: LoadedModel,
    corpus: Corpus,
    recipe: RecipeConfig,
    path: Path,
    on_text: Callable[[int], None] = lambda _n: None,
) -> EmotionVectors:
    """Make the vectors and write them to `path`. `on_text` is told how many texts are done.

    Raises:
        StoriesError: a text is too short for the recipe, or one neutral text alone is to vary.
        VectorError: the file cannot be written, or a vector is degenerate.
    """
    if len(corpus.neutral) < 2 and recipe.neutral_level == "text" and recipe.neutral_variance:
        raise StoriesError(
            f"{len(corpus.neutral)} neutral text has no variance to project out",
            hint="give more neutral texts, or set recipe.neutral_variance to 0",
        )
    stories = sorted(corpus.stories, key=lambda s: (s.emotion, s.topic, s.text))
    emotions, topics = sorted({s.emotion for s in stories}), sorted({s.topic for s in stories})
    labels = [emotions.index(s.emotion) for s in stories]
    topic_of = [topics.index(s.topic) for s in stories]
    activations = text_means(model, [s.text for s in stories], recipe.from_token, on_text)
    neutral = neutral_activations(
        model,
        sorted(t.text for t in corpus.neutral),
        recipe.from_token,
        token_covariance=recipe.neutral_level == "token",
        on_batch=on_text,
    )
    basis = make_basis(neutral, recipe)
    held_out = (
        HeldOut.model_validate(asdict(held_out_accuracy(activations, labels, topic_of, basis)))
        if _can_hold_out(corpus)
        else None
    )
    vectors = EmotionVectors(
        vectors=centred_vectors(emotion_means(activations, labels, len(emotions)), basis),
        shuffled=shuffled_vectors(activations, labels, topic_of, basis, N_SHUFFLED, SHUFFLE_SEED),
        neutral_tokens=neutral.tokens,
        mean_norm=neutral.mean_norm,
        provenance=_provenance(
            model, corpus, recipe, tuple(emotions), basis, neutral.n_norm_tokens, held_out
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
        written_by=corpus.written_by,
        emotions=emotions,
        recipe=recipe.model_dump(),
        neutral_components=tuple(len(c) for c in basis.components),
        neutral_shares=basis.shares,
        norm_text_set=f"the corpus' {len(corpus.neutral)} neutral texts, "
        f"without the first {SINK_POSITIONS} tokens of each",
        n_norm_tokens=n_norm_tokens,
        held_out=held_out,
    )


def _can_hold_out(corpus: Corpus) -> bool:
    """Whether every emotion keeps a story when two topics are left out: one, and one inside."""
    topics: dict[str, set[str]] = {}
    for story in corpus.stories:
        topics.setdefault(story.emotion, set()).add(story.topic)
    return min(map(len, topics.values())) >= 3


def make_basis(neutral: NeutralActivations, recipe: RecipeConfig) -> NeutralBasis:
    """The neutral directions that the recipe projects out."""
    if neutral.token_covariance is not None:
        return covariance_basis(
            neutral.token_covariance, recipe.neutral_variance, recipe.neutral_components
        )
    return neutral_basis(neutral.means, recipe.neutral_variance, recipe.neutral_components)
