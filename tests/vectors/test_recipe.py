"""Arithmetic from activations to vectors, on planted activations of which the answer is known."""

import pytest
import torch
from toys import toy_model, words

from emoctl.vectors.activations import text_means
from emoctl.vectors.recipe import (
    NeutralBasis,
    centred_vectors,
    covariance_basis,
    emotion_means,
    neutral_basis,
    permuted_within,
    random_directions,
    shuffled_vectors,
)

N_EMOTIONS, N_TOPICS, N_EACH, N_LAYERS, D_MODEL = 6, 10, 3, 2, 48
NOTHING = NeutralBasis(tuple(torch.zeros(0, D_MODEL) for _ in range(N_LAYERS)), (0.0,) * N_LAYERS)
LABELS = [e for e in range(N_EMOTIONS) for _ in range(N_TOPICS * N_EACH)]
TOPICS = [t for _ in range(N_EMOTIONS) for t in range(N_TOPICS) for _ in range(N_EACH)]


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(topic_size: float, noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations, and the emotions' and the topics' directions that they were made from."""
    emotion = torch.nn.functional.normalize(draw(N_EMOTIONS, N_LAYERS, D_MODEL, seed=1), dim=-1)
    topic = torch.nn.functional.normalize(draw(N_TOPICS, N_LAYERS, D_MODEL, seed=2), dim=-1)
    made = emotion[LABELS] + topic_size * topic[TOPICS]
    return made + noise * draw(*made.shape, seed=3) / D_MODEL**0.5, emotion, topic


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def neutral_observations(n: int = 200) -> torch.Tensor:
    """Centred elsewhere than at 0, with a spectrum that falls off along mixed axes."""
    scales = torch.linspace(4, 0.1, D_MODEL)
    rotation = torch.linalg.qr(draw(D_MODEL, D_MODEL, seed=4))[0]
    return draw(n, N_LAYERS, D_MODEL, seed=5) * scales @ rotation + 3.0


def test_every_story_weighs_the_same() -> None:
    model = toy_model()
    texts = [words(12, seed=1), words(200, seed=2), words(30, seed=3)]
    means = text_means(model, texts, 8)
    by_label = emotion_means(means, [0, 0, 1], 2)

    assert torch.allclose(by_label[0], (means[0] + means[1]) / 2, rtol=1e-5, atol=1e-6)
    assert torch.equal(by_label[1], means[2])
    by_token = (means[0] * 4 + means[1] * 192) / 196
    assert not torch.allclose(by_label[0], by_token, rtol=1e-2), "control: weighed by tokens"


def test_an_emotion_without_a_story_is_an_error() -> None:
    with pytest.raises(ValueError, match="emotion 1 has no story"):
        emotion_means(draw(2, 1, 4, seed=0), [0, 2], 3)


def test_vectors_are_centred_over_the_whole_corpus() -> None:
    means = draw(N_EMOTIONS, N_LAYERS, D_MODEL, seed=6) + 5
    vectors = centred_vectors(means, NOTHING)
    assert torch.allclose(vectors.sum(0), torch.zeros(N_LAYERS, D_MODEL), atol=1e-4)
    assert torch.allclose(vectors[2], means[2] - means.mean(0))
    of_a_subset = centred_vectors(means[[0, 2]], NOTHING)
    assert (cosine(of_a_subset[1], vectors[2]) < 0.95).all(), "control: a subset's centre differs"


def test_the_centre_is_the_mean_of_means_not_of_stories() -> None:
    activations, labels = draw(12, 1, 8, seed=7), [0] * 9 + [1, 1, 2]
    means = emotion_means(activations, labels, 3)
    vectors = centred_vectors(means, NeutralBasis((torch.zeros(0, 8),), (0.0,)))
    assert torch.allclose(vectors.sum(0), torch.zeros(1, 8), atol=1e-5)
    assert (means - activations.mean(0)).sum(0).abs().max() > 0.1, "control"


def test_planted_directions_are_recovered() -> None:
    activations, emotion, _ = planted(topic_size=2, noise=0.3)
    vectors = centred_vectors(emotion_means(activations, LABELS, N_EMOTIONS), NOTHING)
    wanted = emotion - emotion.mean(0)
    assert (cosine(vectors, wanted) > 0.99).all()
    assert (cosine(vectors, wanted.roll(1, 0)) < 0.5).all(), "control: another emotion's"
    one_story = activations[:: N_TOPICS * N_EACH] - activations.mean(0)
    assert (cosine(one_story, wanted) < 0.9).all(), "control: one story is not enough"


def test_planted_directions_survive_a_loud_neutral_direction() -> None:
    activations, emotion, _ = planted(topic_size=0, noise=0.3)
    loud = torch.nn.functional.normalize(draw(D_MODEL, seed=8), dim=0)
    activations = activations + 2 * draw(len(LABELS), 1, 1, seed=9) * loud
    neutral = draw(50, 1, 1, seed=10) * loud + 0.01 * draw(50, N_LAYERS, D_MODEL, seed=11)
    basis = neutral_basis(neutral, 0.5)

    means = emotion_means(activations, LABELS, N_EMOTIONS)
    wanted = basis.remove(emotion - emotion.mean(0))
    assert [len(c) for c in basis.components] == [1, 1]
    assert (cosine(centred_vectors(means, basis), wanted) > 0.99).all()
    assert (cosine(centred_vectors(means, NOTHING), wanted) < 0.98).any(), "control: not removed"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_the_fewest_components_that_reach_the_share(share: float) -> None:
    neutral = neutral_observations()
    basis = neutral_basis(neutral, share)
    for layer, components in enumerate(basis.components):
        centred = (neutral[:, layer] - neutral[:, layer].mean(0)).double()
        held = (centred @ components.T.double()).square().sum(0) / centred.square().sum()
        assert float(held.sum()) == pytest.approx(basis.shares[layer], abs=1e-6)
        assert held.sum() >= share - 1e-6
        assert held[:-1].sum() < share, "one fewer does not reach it"
        assert torch.allclose(held, held.sort(descending=True).values), "the largest come first"
    sizes = [len(c) for c in basis.components]
    assert min(sizes) >= 1
    assert max(sizes) < D_MODEL


def test_components_are_orthonormal_and_removed_wholly() -> None:
    basis = neutral_basis(neutral_observations(), 0.5)
    vectors = draw(5, N_LAYERS, D_MODEL, seed=12)
    cleaned = basis.remove(vectors)
    for layer, components in enumerate(basis.components):
        k = len(components)
        assert k > 1
        assert torch.allclose(components @ components.T, torch.eye(k), atol=1e-5)
        assert (vectors[:, layer] @ components.T).norm(dim=-1).min() > 0.5, "control: was there"
        assert (cleaned[:, layer] @ components.T).abs().max() < 1e-5
    assert torch.allclose(basis.remove(cleaned), cleaned, atol=1e-5), "twice is once"
    assert not torch.equal(cleaned, vectors)


def test_the_components_are_centred() -> None:
    neutral = neutral_observations() + 1000.0
    moved, still = neutral_basis(neutral, 0.5), neutral_basis(neutral_observations(), 0.5)
    assert [len(c) for c in moved.components] == [len(c) for c in still.components]
    for a, b in zip(moved.components, still.components, strict=True):
        assert torch.allclose(a.T @ a, b.T @ b, atol=1e-2)
    assert len(still.components[0]) > 1, "control: uncentred, one component would hold it all"


def test_no_share_means_no_component_and_a_count_overrides_the_share() -> None:
    neutral = neutral_observations()
    none = neutral_basis(neutral, 0.0)
    vectors = draw(2, N_LAYERS, D_MODEL, seed=13)
    assert none.shares == (0.0,) * N_LAYERS
    assert torch.equal(none.remove(vectors), vectors)
    assert not torch.equal(neutral_basis(neutral, 0.5).remove(vectors), vectors), "control"
    for k in (0, 1, 7):
        assert [len(c) for c in neutral_basis(neutral, 0.5, k).components] == [k] * N_LAYERS
    few = neutral_basis(neutral[:5], 0.5, 99).components
    assert all(len(c) <= 5 for c in few)


@pytest.mark.parametrize(("share", "k"), [(0.5, None), (0.95, None), (0.5, 3), (0.0, None)])
def test_a_covariance_gives_the_same_basis(share: float, k: int | None) -> None:
    neutral = neutral_observations()
    covariance = torch.stack(
        [torch.cov(neutral[:, i].double().T, correction=0) for i in range(N_LAYERS)]
    )
    one, other = neutral_basis(neutral, share, k), covariance_basis(covariance, share, k)
    assert other.shares == pytest.approx(one.shares, abs=1e-6)
    for a, b in zip(one.components, other.components, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a.T @ a, b.T @ b, atol=1e-4)
    if share or k:
        elsewhere = neutral_basis(neutral.flip(-1), share, k).components[0]
        mine = one.components[0]
        assert not torch.allclose(elsewhere.T @ elsewhere, mine.T @ mine, atol=1e-2), "control"


def test_labels_are_permuted_within_topics_only() -> None:
    generator = torch.Generator().manual_seed(1)
    labels, topics = torch.tensor(LABELS), torch.tensor(TOPICS)
    seen = [permuted_within(labels, topics, generator) for _ in range(4)]
    for permuted in seen:
        for topic in range(N_TOPICS):
            here = topics == topic
            assert permuted[here].sort().values.equal(labels[here].sort().values)
        assert not permuted.equal(labels)
    assert len({tuple(permuted.tolist()) for permuted in seen}) == 4


def test_shuffled_vectors_are_the_recipe_on_permuted_labels() -> None:
    """The sum of weighted stories against the slow way: means of emotions, centred."""
    activations, _, _ = planted(topic_size=1, noise=0.5)
    made = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 3, seed=1)
    generator = torch.Generator().manual_seed(1)
    for vector in made:
        permuted = permuted_within(torch.tensor(LABELS), torch.tensor(TOPICS), generator)
        means = emotion_means(activations, permuted.tolist(), max(LABELS) + 1)
        torch.testing.assert_close(vector, centred_vectors(means, NOTHING)[0], atol=1e-5, rtol=0)
    assert not torch.allclose(made[0], made[1], atol=0.1), "control: draws differ"


def test_planted_topic_effects_vanish() -> None:
    _, _, topic = planted(topic_size=0, noise=0)
    activations = 10 * topic[TOPICS]
    inside = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 8, seed=1)
    across = shuffled_vectors(activations, LABELS, [0] * len(TOPICS), NOTHING, 8, seed=1)
    assert inside.norm(dim=-1).max() < 1e-4
    assert across.norm(dim=-1).min() > 0.1, "control: permuted across topics they stay"


def test_shuffled_vectors_carry_no_emotion() -> None:
    activations, emotion, _ = planted(topic_size=3, noise=1)
    wanted = (emotion - emotion.mean(0))[0]
    real = centred_vectors(emotion_means(activations, LABELS, N_EMOTIONS), NOTHING)[0]
    shuffled = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 40, seed=1)

    assert shuffled.shape == (40, N_LAYERS, D_MODEL)
    assert (cosine(real, wanted) > 0.9).all()
    assert cosine(shuffled, wanted).mean().abs() < 0.1
    share = (shuffled @ wanted[0] / (real[0] @ wanted[0]))[:, 0]
    assert share.abs().max() < 0.5
    assert share.abs().mean() < 0.15


def test_shuffled_vectors_are_a_function_of_their_seed() -> None:
    activations, _, _ = planted(topic_size=1, noise=1)
    one = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 5, seed=1)
    assert torch.equal(one, shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 5, seed=1))
    assert torch.equal(
        one[:3], shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 3, seed=1)
    ), "fewer are the first ones of more"
    other = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 5, seed=2)
    assert not torch.equal(one, other)
    assert len({v.numpy().tobytes() for v in one}) == 5


def test_shuffled_vectors_have_the_neutral_part_removed() -> None:
    activations, _, _ = planted(topic_size=1, noise=1)
    basis = neutral_basis(neutral_observations(), 0.5)
    cleaned = shuffled_vectors(activations, LABELS, TOPICS, basis, 3, seed=1)
    raw = shuffled_vectors(activations, LABELS, TOPICS, NOTHING, 3, seed=1)
    assert (cleaned[:, 0] @ basis.components[0].T).abs().max() < 1e-5
    assert (raw[:, 0] @ basis.components[0].T).abs().max() > 1e-3, "control"


@pytest.mark.parametrize("neutral", [False, True])
def test_random_directions_are_unit_and_outside_the_emotions(neutral: bool) -> None:
    emotions = draw(N_EMOTIONS, D_MODEL, seed=14)
    tokens = neutral_observations()[:, 0] if neutral else None
    state = torch.get_rng_state()
    made = random_directions(20, emotions, tokens, seed=1)
    assert torch.equal(torch.get_rng_state(), state), "no global generator is touched"

    assert made.shape == (20, D_MODEL)
    assert torch.allclose(made.norm(dim=-1), torch.ones(20), atol=1e-6)
    cosines = made @ torch.nn.functional.normalize(emotions, dim=-1).T
    assert cosines.abs().max() < 1e-5
    unhindered = random_directions(20, torch.eye(D_MODEL)[:1], tokens, seed=1)
    cosines = unhindered @ torch.nn.functional.normalize(emotions, dim=-1).T
    assert cosines.abs().max() > 0.1, "control: without that, they are not orthogonal"

    assert torch.equal(made, random_directions(20, emotions, tokens, seed=1))
    assert not torch.equal(made, random_directions(20, emotions, tokens, seed=2))


def test_centred_emotions_are_linearly_dependent_and_that_is_no_harm() -> None:
    emotions = draw(N_EMOTIONS, D_MODEL, seed=15)
    emotions = emotions - emotions.mean(0)
    made = random_directions(300, emotions, None, seed=1)
    assert (made @ emotions.T).abs().max() < 1e-5
    rank = int(torch.linalg.matrix_rank(made))
    assert rank == D_MODEL - (N_EMOTIONS - 1), "nothing but their span is left out"


def test_neutral_directions_follow_the_covariance_and_isotropic_ones_do_not() -> None:
    axis = torch.eye(D_MODEL)[0]
    tokens = draw(300, D_MODEL, seed=16) + 10 * draw(300, 1, seed=17) * axis + 50
    outside = torch.eye(D_MODEL)[1:4]
    along = {
        kind: (random_directions(400, outside, given, seed=1) @ axis).square().mean()
        for kind, given in (("neutral", tokens), ("isotropic", None))
    }
    assert along["isotropic"] == pytest.approx(1 / (D_MODEL - 3), rel=0.3)
    assert along["neutral"] > 10 * along["isotropic"]
    mean = torch.nn.functional.normalize(torch.ones(D_MODEL), dim=0)
    drawn = random_directions(400, outside, tokens, seed=1)
    assert (drawn @ mean).square().mean() < 0.2, "the tokens' mean, 50 everywhere, is taken out"
