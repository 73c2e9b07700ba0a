"""Held-out scores on activations of which the answer is known, and beside the slow obvious way."""

import random

import pytest
import torch

from emoctl.vectors.held_out import HeldOutScores, held_out_scores, ranks_of
from emoctl.vectors.recipe import NeutralBasis, centred_vectors, emotion_means, neutral_basis

N_EMOTIONS, N_TOPICS, N_EACH, D_MODEL = 5, 6, 4, 32
LABELS = [e for e in range(N_EMOTIONS) for _ in range(N_TOPICS * N_EACH)]
TOPICS = [t for _ in range(N_EMOTIONS) for t in range(N_TOPICS) for _ in range(N_EACH)]


def nothing(n_layers: int) -> NeutralBasis:
    return NeutralBasis(tuple(torch.zeros(0, D_MODEL) for _ in range(n_layers)), (0.0,) * n_layers)


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def read_slowly(
    made: torch.Tensor,
    label: torch.Tensor,
    train: torch.Tensor,
    test: torch.Tensor,
    basis: NeutralBasis,
) -> torch.Tensor:
    """Cosines of the tested stories, [tested, layers, emotions]: means taken anew each time."""
    means = emotion_means(made[train], label[train].tolist(), int(label.max()) + 1)
    vectors = centred_vectors(means, basis)
    stories = basis.remove(made[test] - means.mean(0))
    normalize = torch.nn.functional.normalize
    return torch.einsum("sld,eld->sle", normalize(stories, dim=-1), normalize(vectors, dim=-1))


def right(
    made: torch.Tensor, label: torch.Tensor, train: torch.Tensor, test: torch.Tensor
) -> torch.Tensor:
    """Whether each tested story's nearest vector is its own, at every layer."""
    scores = read_slowly(made, label, train, test, nothing(made.shape[1]))
    return scores.argmax(-1) == label[test][:, None]


def nested(found: HeldOutScores) -> float:
    return float((ranks_of(found.nested, found.own) == 0).float().mean())


def separable(noise: float = 0.3) -> torch.Tensor:
    """Layer 0 is noise alone; layers 1 and 2 hold the emotion, and layer 2 much more noise."""
    emotion, topic = draw(N_EMOTIONS, D_MODEL, seed=1), draw(N_TOPICS, D_MODEL, seed=2)
    clean = emotion[LABELS] + 0.5 * topic[TOPICS]
    shape = (len(LABELS), D_MODEL)
    layers = [
        draw(*shape, seed=3),
        clean + noise * draw(*shape, seed=4),
        clean + 12 * noise * draw(*shape, seed=5),
    ]
    return torch.stack(layers, dim=1)


def test_planted_emotions_are_read() -> None:
    found = held_out_scores(separable(), LABELS, TOPICS, nothing(3))
    assert found.by_layer()[1] == 1.0
    assert nested(found) == 1.0
    assert found.chosen_layers == (1,) * N_TOPICS
    assert found.by_layer()[0] < 2 / N_EMOTIONS, "control: noise is not read"
    assert found.by_layer()[0] < found.by_layer()[2] < 1
    assert found.nested.shape == (len(LABELS), N_EMOTIONS)


def test_shuffled_labels_are_near_chance() -> None:
    labels = list(LABELS)
    random.Random(3).shuffle(labels)
    found = held_out_scores(separable(), labels, TOPICS, nothing(3))
    assert all(accuracy < 2 / N_EMOTIONS for accuracy in (*found.by_layer(), nested(found)))


def test_topics_are_left_out_whole() -> None:
    """Where a story's topic tells its emotion and nothing else does, nothing can be read."""
    topics = [k % N_TOPICS for k in range(len(LABELS))]
    cells = draw(N_EMOTIONS, N_TOPICS, D_MODEL, seed=6)
    made = torch.stack([cells[e, t] for e, t in zip(LABELS, topics, strict=True)])[:, None]
    made = made + 0.01 * draw(*made.shape, seed=7)
    found = held_out_scores(made, LABELS, topics, nothing(1))
    assert found.by_layer()[0] < 2 / N_EMOTIONS
    train = torch.tensor([k % 2 == 0 for k in range(len(LABELS))])
    label, fine = torch.tensor(LABELS), [t // 2 for t in range(len(LABELS))]
    seen = right(made, label, train, train)
    assert seen.float().mean() > 0.3, "control: seen cells are read better"
    assert len(set(fine)) > N_TOPICS


def test_the_layer_is_chosen_without_the_held_out_topic() -> None:
    """Layer 0 misleads on topic 0 alone. Layer 1 reads topic 0 alone: between the other topics,
    what carries the emotion is drowned by a pattern of weights 1, 1 and -2. Topic 0 is so loud
    that a fold which trains on it believes it."""
    signal, pattern = torch.eye(D_MODEL)[:N_EMOTIONS], torch.eye(D_MODEL)[10 : 10 + N_EMOTIONS]
    labels = [e for e in range(N_EMOTIONS) for _ in range(4)]
    topics = [t for _ in range(N_EMOTIONS) for t in range(4)]
    weights = {0: 0.0, 1: 1.0, 2: 1.0, 3: -2.0}
    rows = []
    for e, t in zip(labels, topics, strict=True):
        shown = (e + 1) % N_EMOTIONS if t == 0 else e
        row = torch.stack([signal[shown], signal[e] + 5 * weights[t] * pattern[e]])
        rows.append(row * (1000 if t == 0 else 1))
    made = torch.stack(rows)

    label, held = torch.tensor(labels), torch.tensor(topics) == 0
    on_topic_0 = right(made, label, ~held, held).float().mean(0)
    assert on_topic_0.tolist() == [0.0, 1.0], "control: whoever looks would take layer 1"

    another = torch.tensor(topics) == 1
    trained_on_it = right(made, label, ~another, another).float().mean(0)
    assert trained_on_it.tolist() == [0.0, 1.0], "control: so would whoever trains on it"

    found = held_out_scores(made, labels, topics, nothing(2))
    assert found.chosen_layers[0] == 0
    others_right = nested(found) * len(labels)
    assert others_right <= len(labels) * 3 / 4, "so every story of topic 0 is misread"


def test_the_neutral_part_is_left_out_of_both_sides() -> None:
    loud = torch.nn.functional.normalize(draw(D_MODEL, seed=8), dim=0)
    made = separable()[:, 1:2] + 30 * draw(len(LABELS), 1, 1, seed=9) * loud
    neutral = draw(40, 1, 1, seed=10) * loud + 0.01 * draw(40, 1, D_MODEL, seed=11)
    with_basis = held_out_scores(made, LABELS, TOPICS, neutral_basis(neutral, 0.5))
    without = held_out_scores(made, LABELS, TOPICS, nothing(1))
    assert nested(with_basis) > 0.98
    assert nested(without) < 0.9, "control: the loud direction does disturb"


def test_fewer_than_three_topics_are_refused() -> None:
    two = [t % 2 for t in TOPICS]
    with pytest.raises(ValueError, match="at least three topics"):
        held_out_scores(separable(), LABELS, two, nothing(3))


def test_an_emotion_of_one_topic_is_refused() -> None:
    topics = [0 if e == 0 else t for e, t in zip(LABELS, TOPICS, strict=True)]
    with pytest.raises(ValueError, match="emotion 0 has no story"):
        held_out_scores(separable(), LABELS, topics, nothing(3))


def test_sums_give_what_means_taken_anew_give() -> None:
    """Every fold's scores, and the layer chosen by leaving out two topics at a time."""
    neutral = draw(40, 3, D_MODEL, seed=12)
    made, basis = separable(noise=1.0), neutral_basis(neutral, 0.5)
    found = held_out_scores(made, LABELS, TOPICS, basis)
    label, topic = torch.tensor(LABELS), torch.tensor(TOPICS)
    for outer in range(N_TOPICS):
        held = topic == outer
        slow = read_slowly(made, label, ~held, held, basis).transpose(0, 1)
        torch.testing.assert_close(found.scores[:, held], slow, atol=1e-5, rtol=0)
        other = read_slowly(made, label, held, held, basis).transpose(0, 1)
        assert not torch.allclose(found.scores[:, held], other, atol=0.05), "control: own topic"
        inner = torch.zeros(3)
        for left in set(range(N_TOPICS)) - {outer}:
            tested = topic == left
            scores = read_slowly(made, label, ~held & ~tested, tested, basis)
            inner += (scores.argmax(-1) == label[tested][:, None]).sum(0)
        assert found.chosen_layers[outer] == int(inner.argmax())


def test_nested_scores_are_those_of_the_chosen_layers() -> None:
    made = separable()
    found = held_out_scores(made, LABELS, TOPICS, nothing(3))
    assert found.chosen_layers == (1,) * N_TOPICS
    assert found.nested.equal(found.scores[1])
    assert not found.nested.equal(found.scores[2]), "control"
