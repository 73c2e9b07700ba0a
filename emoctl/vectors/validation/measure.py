"""Everything that `emoctl validate` asks of a model, in one place, as arrays.

    corpus ─▶ held-out scores, null readers, split halves        (no vector sees what it reads)
           ─▶ vectors of the whole corpus ─▶ further stories, messages, logit lens, geometry

What the arrays mean, and how sure one may be of it, is not known here.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.config.schema import RecipeConfig
from emoctl.errors import StoriesError
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus
from emoctl.stories.labels import LabelledStories, label_stories
from emoctl.vectors.activations import NeutralActivations
from emoctl.vectors.basis import make_basis
from emoctl.vectors.held_out import HeldOutScores, TopicFolds, held_out_scores
from emoctl.vectors.kept import kept_neutral_activations, kept_text_means
from emoctl.vectors.recipe import (
    NeutralBasis,
    centred_vectors,
    emotion_means,
    neutral_basis,
)
from emoctl.vectors.recommendation import recommend_layer
from emoctl.vectors.reliability import split_half_cosines, usable_halves
from emoctl.vectors.validation.growth import read_with_fewer
from emoctl.vectors.validation.logit_lens import EmotionLayer, read_logit_lens
from emoctl.vectors.validation.material import Material
from emoctl.vectors.validation.measurements import Array, LensRow, Measurements, Reader
from emoctl.vectors.validation.messages import read_messages
from emoctl.vectors.validation.null_readers import (
    embedding_means,
    random_direction_scores,
    shuffled_label_scores,
)
from emoctl.vectors.validation.whitened import whitened_scores

SEED = 171
N_SHUFFLES = 5
N_GROWTH_DRAWS = 10
OnText = Callable[[int], None]


def measure(
    model: LoadedModel,
    material: Material,
    recipe: RecipeConfig,
    *,
    layer: int | None = None,
    logit_lens: bool = True,
    on_text: OnText = lambda _n: None,
) -> Measurements:
    """Read every text, then make vectors and hold them against all of it.

    Raises:
        StoriesError: a text is too short for the recipe, there is one neutral text alone, or the
            corpus is too uneven to be halved.
        VectorError: the model's activations are not finite, or a vector is zero.
        PromptError: a message does not fit the model.
        ModelError: the logit lens is wanted and the model has no known final norm.
    """
    corpus = label_stories(material.corpus)
    activations = kept_text_means(model, corpus.texts, recipe.from_token, on_text)
    neutral = kept_neutral_activations(
        model,
        sorted(t.text for t in material.corpus.neutral),
        recipe.from_token,
        token_covariance=recipe.neutral_level == "token",
        on_text=on_text,
    )
    basis = make_basis(neutral, recipe)
    further = kept_text_means(model, [s.text for s in material.further], recipe.from_token, on_text)
    messages = read_messages(model, material.messages, on_text)

    held = held_out_scores(activations, corpus.emotion_of, corpus.topic_of, basis)
    split_half = split_half_cosines(activations, corpus.emotion_of, corpus.topic_of, basis)
    if split_half is None:
        raise StoriesError(
            "no halving of the topics leaves every emotion a story in both halves",
            hint="emoctl stories lint lists the topics that an emotion lacks",
        )
    advised = recommend_layer(held.by_layer(), len(corpus.stories), split_half)
    used = advised if layer is None else layer
    means = emotion_means(activations, corpus.emotion_of, len(corpus.emotions))
    vectors = centred_vectors(means, basis)
    grown = read_with_fewer(
        activations[:, used],
        corpus.emotion_of,
        corpus.topic_of,
        _at(basis, used),
        further[:, used],
        [corpus.emotions.index(s.emotion) for s in material.further],
        _sizes(len(corpus.topics)),
        N_GROWTH_DRAWS,
        SEED,
    )
    return Measurements(
        emotions=corpus.emotions,
        layer=used,
        recommended_layer=advised,
        chosen_layers=held.chosen_layers,
        readers=tuple(_readers(model, corpus, material.corpus, recipe, activations, basis, held)),
        top1_by_layer=held.by_layer(),
        top5_by_layer=held.by_layer(5),
        first_by_layer=held.scores.argmax(2).to(torch.int16).numpy(),
        split_half=split_half.numpy(),
        vectors=vectors.numpy(),
        half_scores=_half_scores(activations, corpus, basis, used),
        growth=tuple(grown),
        message_cosines={
            "before response": _cosines(messages.before_response, vectors).numpy(),
            "over message": _cosines(messages.over_message, vectors).numpy(),
        },
        lens=tuple(_lens(model, corpus, vectors, neutral, used)) if logit_lens else (),
    )


def _lens(
    model: LoadedModel,
    corpus: LabelledStories,
    vectors: Float[Tensor, "emotions layers d_model"],
    neutral: NeutralActivations,
    used: int,
) -> Iterator[LensRow]:
    """At the layer used, and at the last one, where nothing stands between it and the words."""
    for layer in sorted({used, model.n_layers - 1}):
        at_layer = EmotionLayer(
            layer,
            corpus.emotions,
            vectors[:, layer],
            neutral.tokens[:, layer].mean(0),
            float(neutral.mean_norm[layer]),
        )
        yield from read_logit_lens(model, at_layer)


def _readers(
    model: LoadedModel,
    corpus: LabelledStories,
    whole: Corpus,
    recipe: RecipeConfig,
    activations: Float[Tensor, "stories layers d_model"],
    basis: NeutralBasis,
    held: HeldOutScores,
) -> list[Reader]:
    def reader(name: str, scores: Tensor, own: Tensor = held.own) -> Reader:
        return Reader(name, scores.float().numpy(), own.numpy())

    words = embedding_means(model, corpus.texts, recipe.from_token)
    plain = embedding_means(model, [t.text for t in whole.neutral], recipe.from_token)
    words_basis = neutral_basis(plain, recipe.neutral_variance, recipe.neutral_components)
    on_words = held_out_scores(words, corpus.emotion_of, corpus.topic_of, words_basis)
    shuffled = shuffled_label_scores(activations, held, basis, N_SHUFFLES, SEED)
    return [
        reader("emotion vectors", held.nested),
        reader("vectors, whitened", whitened_scores(activations, held)),
        reader("layer 0", held.scores[0]),
        reader("token embeddings", on_words.nested),
        *(reader(f"shuffled labels {i}", s, own) for i, (s, own) in enumerate(shuffled, start=1)),
        reader("random directions", random_direction_scores(activations, held, basis, SEED)),
    ]


def _half_scores(
    activations: Float[Tensor, "stories layers d_model"],
    corpus: LabelledStories,
    basis: NeutralBasis,
    layer: int,
) -> Array:
    """Every half's vectors against the other half's, at one layer."""
    unit = torch.nn.functional.normalize
    folds = TopicFolds(
        activations[:, layer],
        torch.tensor(corpus.emotion_of),
        torch.tensor(corpus.topic_of),
        basis.components[layer],
    )
    scores = []
    for half in usable_halves(folds.own, folds.fold):
        rest = [topic for topic in range(len(corpus.topics)) if topic not in half]
        scores.append(unit(folds.vectors(half), dim=-1) @ unit(folds.vectors(rest), dim=-1).T)
    return torch.stack(scores).numpy()


def _cosines(
    rows: Float[Tensor, "rows layers d_model"], vectors: Float[Tensor, "emotions layers d_model"]
) -> Float[Tensor, "rows emotions layers"]:
    unit = torch.nn.functional.normalize
    return torch.einsum("rld,eld->rel", unit(rows, dim=-1), unit(vectors, dim=-1))


def _at(basis: NeutralBasis, layer: int) -> NeutralBasis:
    return NeutralBasis((basis.components[layer],), (basis.shares[layer],))


def _sizes(n_topics: int) -> Sequence[int]:
    return sorted({*range(2, n_topics, 2), n_topics})
