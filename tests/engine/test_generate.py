"""Decoding with a cache equals recomputing everything, whatever shares the batch."""

import pytest
import torch
from naive import steered_logits
from tiny_models import CONFIGS, EOS, tiny_model

from emoctl.engine.generate import generate, prefill
from emoctl.engine.noise import NoiseKey
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams
from emoctl.engine.sampling import sample
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel

PROMPT = (1, *range(5, 30))
START = len(PROMPT)


def steering(layer: int, size: float, everywhere: bool = True) -> Steering:
    direction = torch.linspace(-1, 1, 32) ** 3
    return Steering(layer, size * direction / direction.norm(), everywhere)


CONDITIONS = [steering(2, 0.0), steering(2, 4.0), steering(1, -4.0), steering(2, 4.0, False)]


def play(
    model: LoadedModel, requests: list[RolloutRequest], params: SamplingParams
) -> dict[int, Completion]:
    done = generate(model, requests, lambda s: prefill(model, PROMPT, START, s), params)
    return {completion.index: completion for completion in done}


def recomputed(model: LoadedModel, request: RolloutRequest, n: int) -> tuple[int, ...]:
    """The same rollout without a cache: every prefix from scratch."""
    written: list[int] = []
    for index in range(n):
        condition = request.steering
        logits = steered_logits(model, [*PROMPT, *written], condition, condition.steer_from(START))
        words = torch.tensor([request.noise.words(index)])
        written.append(int(sample(logits[-1:], words, 1.0)))
        if written[-1] == EOS:
            break
    return tuple(written)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoding_equals_recomputing(name: str) -> None:
    model = tiny_model(name)
    requests = [
        RolloutRequest(PROMPT, START, condition, NoiseKey(5, "s", "v", rollout))
        for condition in CONDITIONS
        for rollout in range(3)
    ]

    played = play(model, requests, SamplingParams(12, 1.0))

    assert {i: c.token_ids for i, c in played.items()} == {
        i: recomputed(model, request, 12) for i, request in enumerate(requests)
    }
    texts = {c.token_ids for c in played.values()}
    assert len(texts) > 3, "control: conditions and rollouts differ"


def test_rows_end_at_their_own_time_and_say_how() -> None:
    model = tiny_model()
    requests = [
        RolloutRequest(PROMPT, START, CONDITIONS[0], NoiseKey(9, "s", "v", r)) for r in range(40)
    ]

    played = play(model, requests, SamplingParams(30, 1.0))

    stops = {c.stop for c in played.values()}
    assert stops == {"end", "length"}
    for completion in played.values():
        ended = completion.token_ids[-1] == EOS
        assert completion.stop == ("end" if ended else "length")
        assert EOS not in completion.token_ids[:-1]
        assert ended or len(completion.token_ids) == 30


def test_a_stop_test_ends_a_row_as_an_end_of_turn_does() -> None:
    model = tiny_model()
    request = RolloutRequest(PROMPT, START, CONDITIONS[0], NoiseKey(5, "s", "v", 1))
    (free,) = play(model, [request], SamplingParams(8, 1.0)).values()

    params = SamplingParams(8, 1.0, ended=lambda written: len(written) == 3)
    (stopped,) = play(model, [request], params).values()

    assert stopped.stop == "end"
    assert stopped.token_ids == free.token_ids[:3]
    assert len(free.token_ids) > 3, "control"


@pytest.mark.parametrize("mates", [0, 3, 6, 12])
def test_a_rollout_does_not_depend_on_its_batch(mates: int) -> None:
    model = tiny_model(dtype=torch.float32)
    request = RolloutRequest(PROMPT, START, CONDITIONS[1], NoiseKey(5, "s", "v", 7))
    others = [
        RolloutRequest(PROMPT, START, CONDITIONS[i % 4], NoiseKey(5, "s", "v", 20 + i))
        for i in range(mates)
    ]

    alone = play(model, [request], SamplingParams(10, 1.0))[0]
    together = play(model, [*others, request], SamplingParams(10, 1.0))[mates]

    assert together.token_ids == alone.token_ids
    assert together.count.n_steered == alone.count.n_steered
    assert together.count.mean_added_norm == pytest.approx(alone.count.mean_added_norm, rel=1e-5)


def test_conditions_share_their_noise_by_rollout() -> None:
    """At a tiny strength nearly every token is the same; with other noise nearly none."""
    model = tiny_model()
    weak = steering(2, 1e-6)
    pairs = [
        RolloutRequest(PROMPT, START, condition, NoiseKey(5, "s", "v", r))
        for condition in (CONDITIONS[0], weak)
        for r in range(5)
    ]
    other = [RolloutRequest(PROMPT, START, weak, NoiseKey(5, "s", "v", 100 + r)) for r in range(5)]

    played = play(model, [*pairs, *other], SamplingParams(10, 1.0))

    assert [played[i].token_ids for i in range(5)] == [played[5 + i].token_ids for i in range(5)]
    assert [played[i].token_ids for i in range(5)] != [played[10 + i].token_ids for i in range(5)]


def test_mean_logprob_is_that_of_the_written_tokens() -> None:
    model = tiny_model()
    request = RolloutRequest(PROMPT, START, CONDITIONS[1], NoiseKey(5, "s", "v", 0))

    (done,) = play(model, [request], SamplingParams(6, 1.0)).values()

    logits = steered_logits(model, [*PROMPT, *done.token_ids], CONDITIONS[1], 0)
    logprobs = torch.log_softmax(logits, -1)[START - 1 : -1]
    expected = sum(logprobs[i, t].item() for i, t in enumerate(done.token_ids))
    assert done.mean_logprob == pytest.approx(expected / len(done.token_ids), abs=1e-5)
