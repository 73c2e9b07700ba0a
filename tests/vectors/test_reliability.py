"""Split halves and the layer that is advised, on activations of which the answer is known."""

import torch

from emoctl.vectors.recipe import NeutralBasis, centred_vectors, emotion_means
from emoctl.vectors.recommendation import recommend_layer
from emoctl.vectors.reliability import (
    MOST_SPLITS,
    halves,
    split_half_cosines,
    usable_halves,
)

N_EMOTIONS, N_TOPICS, D_MODEL = 6, 4, 24
LABELS = [e for e in range(N_EMOTIONS) for _ in range(N_TOPICS)]
TOPICS = list(range(N_TOPICS)) * N_EMOTIONS
NOTHING = NeutralBasis((torch.zeros(0, D_MODEL),) * 3, (0.0,) * 3)


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def noisy(*noise: float) -> torch.Tensor:
    """One layer for each amount of noise."""
    emotion, topic = draw(N_EMOTIONS, D_MODEL, seed=1), draw(N_TOPICS, D_MODEL, seed=2)
    clean = emotion[LABELS] + 3 * topic[TOPICS]
    return torch.stack(
        [clean + n * draw(*clean.shape, seed=3 + i) for i, n in enumerate(noise)], dim=1
    )


def test_every_way_of_halving_stands_once() -> None:
    assert halves(4) == [(0, 1), (0, 2), (0, 3)]
    assert len(halves(5)) == 10, "an odd number has no mirror"
    assert len(halves(12)) == MOST_SPLITS
    assert len(set(halves(12))) == MOST_SPLITS
    assert len(halves(60)) == MOST_SPLITS, "without listing 10 ** 17 ways"
    assert halves(12) == halves(12)
    assert all(set(half) < set(range(12)) and len(half) == 6 for half in halves(12))


def test_what_both_halves_hold_is_reliable_and_noise_is_not() -> None:
    cosines = split_half_cosines(noisy(0.0, 1.0, 50.0), LABELS, TOPICS, NOTHING)
    assert cosines is not None
    assert cosines.shape == (3, N_EMOTIONS, 3)
    by_layer = cosines.mean((0, 1)).tolist()
    assert by_layer[0] > 0.999
    assert by_layer[0] > by_layer[1] > by_layer[2]
    assert abs(by_layer[2]) < 0.3


def test_a_split_is_the_recipe_on_each_half() -> None:
    made = noisy(1.0, 1.0, 2.0)
    cosines = split_half_cosines(made, LABELS, TOPICS, NOTHING)
    assert cosines is not None
    first = torch.tensor([t in (0, 2) for t in TOPICS])
    label = torch.tensor(LABELS)
    one, other = (
        centred_vectors(emotion_means(made[m], label[m].tolist(), N_EMOTIONS), NOTHING)
        for m in (first, ~first)
    )
    slow = torch.nn.functional.cosine_similarity(one, other, dim=-1)
    torch.testing.assert_close(cosines[1], slow, atol=1e-5, rtol=0)
    assert not torch.allclose(cosines[0], slow, atol=0.01), "control: another split"


def test_the_most_reliable_of_the_best_layers_is_advised() -> None:
    halved = torch.tensor([0.2, 0.9, 0.7, 0.8]).repeat(1, 3, 1)
    assert recommend_layer([0.1, 0.40, 0.50, 0.49], 400, halved) == 3, "one standard error: .025"
    assert recommend_layer([0.1, 0.40, 0.50, 0.49], 40_000, halved) == 2, "control: .0025"
    assert recommend_layer([0.5, 0.5, 0.5, 0.5], 10, halved) == 1


def test_halves_that_leave_an_emotion_without_a_story_are_left_out() -> None:
    own, fold = torch.tensor(LABELS), torch.tensor(TOPICS)
    lone = ~((own == 0) & (fold > 1))  # emotion 0 has topics 0 and 1 alone
    assert usable_halves(own[lone], fold[lone]) == [(0, 2), (0, 3)]
    assert len(usable_halves(own, fold)) == 3, "control"
    one = ~((own == 0) & (fold > 0))
    assert usable_halves(own[one], fold[one]) == []
    made = noisy(1.0, 1.0, 1.0)[one]
    labels, topics = own[one].tolist(), fold[one].tolist()
    assert split_half_cosines(made, labels, topics, NOTHING) is None
