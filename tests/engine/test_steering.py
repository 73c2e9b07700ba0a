"""Steering adds what it says, where it says, and proves it."""

from typing import Any

import pytest
import torch
from naive import close_enough, steered_logits
from tiny_models import CONFIGS, tiny_model

from emoctl.engine.generate import generate, prefill
from emoctl.engine.noise import NoiseKey
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.steering import (
    Steering,
    SteeringCount,
    SteeringTable,
    add_steering,
    check_count,
)
from emoctl.errors import SteeringError

PROMPT = (1, *range(5, 45))
"""Longer than the sliding windows of the tiny models."""

START = 38


def steering(layer: int, size: float, *, everywhere: bool = True, d_model: int = 32) -> Steering:
    direction = torch.linspace(-1, 1, d_model) ** 3
    return Steering(layer, size * direction / direction.norm(), everywhere)


def logits_of(model: Any, rows: list[Steering]) -> torch.Tensor:
    """Logits of one batch that mixes conditions, at every position."""
    table = SteeringTable(rows, START, model.device, model.dtype)
    positions = torch.arange(len(PROMPT))[None]
    with torch.inference_mode(), table.applied_to(model.blocks, positions, n_real=len(rows)):
        return model.module(torch.tensor([PROMPT] * len(rows)), use_cache=False).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_a_mixed_batch_equals_one_plain_hook_a_row(name: str) -> None:
    model = tiny_model(name)
    rows = [
        steering(2, 0.0),
        steering(2, 3.0),
        steering(1, -2.0),
        steering(2, 3.0, everywhere=False),
    ]

    logits = logits_of(model, rows)

    for row, condition in enumerate(rows):
        reference = steered_logits(model, PROMPT, condition, condition.steer_from(START))
        assert close_enough(logits[row], reference)
    assert not close_enough(logits[1], logits[0]), "control: steering changes logits"
    assert not close_enough(logits[3], logits[1]), "control: positions matter"
    assert torch.equal(logits[3, : START - 1], logits[0, : START - 1])


def test_strength_zero_is_bit_equal_to_the_same_batch_without_the_hook() -> None:
    model = tiny_model(dtype=torch.float32)
    rows = [steering(2, 0.0), steering(2, 3.0), steering(1, -2.0), steering(2, 0.0)]
    with torch.inference_mode():
        unhooked = model.module(torch.tensor([PROMPT] * 4), use_cache=False).logits

    logits = logits_of(model, rows)

    assert torch.equal(logits[0], unhooked[0])
    assert torch.equal(logits[3], unhooked[3])
    assert not torch.equal(logits[1], unhooked[1]), "control"


def test_a_mates_vector_changes_no_bit_of_a_row() -> None:
    model = tiny_model(dtype=torch.float32)
    mates = [steering(2, 3.0), steering(2, -7.0)]

    first, second = (logits_of(model, [steering(2, 1.5), mate] * 2) for mate in mates)

    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1]), "control"


def test_the_input_of_a_steered_layer_is_left_as_it_was() -> None:
    resid = torch.zeros(1, 4, 2)
    added = torch.ones(1, 2)

    steered = add_steering(resid, added, torch.arange(4)[None], torch.tensor([2]))

    assert steered[0, :, 0].tolist() == [0, 0, 1, 1]
    assert not resid.any()


@pytest.mark.parametrize(("everywhere", "expected"), [(True, 41 + 5 - 1), (False, 41 - 37 + 5 - 1)])
def test_a_receipt_counts_prompt_and_response(everywhere: bool, expected: int) -> None:
    model = tiny_model()
    condition = steering(2, 3.0, everywhere=everywhere)

    (done,) = generate(
        model,
        [RolloutRequest(PROMPT, START, condition, NoiseKey(0, "s", "v", 0))],
        lambda s: prefill(model, PROMPT, START, s),
        SamplingParams(5, 1.0),
    )

    n = len(done.token_ids)
    assert done.count.n_steered == expected - (5 - n)
    assert done.count.mean_added_norm == pytest.approx(3.0, rel=1e-5)


def test_a_condition_that_steers_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug that the field has most: the hook does not fire, and a steered cell is a baseline."""
    model = tiny_model()
    request = RolloutRequest(PROMPT, START, steering(2, 3.0), NoiseKey(0, "s", "v", 0))

    def play() -> list[Any]:
        completions = generate(
            model,
            [request],
            lambda s: prefill(model, PROMPT, START, s),
            SamplingParams(3, 1.0),
        )
        return list(completions)

    assert play(), "control: it works before it is broken"
    monkeypatch.setattr("emoctl.engine.steering.add_steering", lambda resid, *_rest: resid)
    with pytest.raises(SteeringError, match="steered 0 positions at layer 2, expected"):
        play()


def test_too_few_positions_or_another_length_are_errors() -> None:
    condition = steering(2, 3.0)

    check_count(condition, SteeringCount(10, 3.0), 10, "a row")
    with pytest.raises(SteeringError, match="steered 9 positions"):
        check_count(condition, SteeringCount(9, 3.0), 10, "a row")
    with pytest.raises(SteeringError, match="added 2 on average, expected 3"):
        check_count(condition, SteeringCount(10, 2.0), 10, "a row")
    with pytest.raises(SteeringError, match="steered 1 positions"):
        check_count(steering(2, 0.0), SteeringCount(1, 1.0), 10, "an unsteered row")
