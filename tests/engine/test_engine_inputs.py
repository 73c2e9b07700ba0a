"""What an engine is asked that is unusual, impossible, or breaks the model."""

from typing import Any

import pytest
import torch
from recorded import SHORT, model_of, request, steering
from tiny_models import tiny_model

from emoctl.engine.attention import Part, Scores, attend, merge
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import SteeredEngine
from emoctl.engine.reference import ReferenceEngine
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.steering import Steering
from emoctl.errors import SteeringError

ENGINES = pytest.mark.parametrize("engine", [SteeredEngine, ReferenceEngine])


@pytest.mark.parametrize("response_start", [-1, 0, len(SHORT) + 1])
def test_a_response_begins_in_the_prompt_or_right_behind_it(response_start: int) -> None:
    with pytest.raises(ValueError, match="response_start"):
        RolloutRequest(tuple(SHORT), response_start, steering(2, 1.0), NoiseKey(0, "s", "v", 0))


@ENGINES
def test_a_prompt_of_one_token_under_steered_conditions_alone(engine: Any) -> None:
    """There is no prefix, and nothing but the tail to steer."""
    asked = [request(steering(2, size), i, (1,)) for i, size in enumerate((4.0, -4.0))]

    done = list(engine(model_of("llama"), 4).play(asked, SamplingParams(5, 1.0)))

    assert [len(completion.token_ids) for completion in done] == [5, 5]


@ENGINES
def test_conditions_that_are_made_and_dropped_one_by_one(engine: Any) -> None:
    """A new condition may stand where an old one stood in memory."""
    model, params = model_of("llama"), SamplingParams(4, 0.0)

    def written(player: Any, size: float) -> float:
        (done,) = player.play([request(steering(2, size), 0)], params)
        return float(done.mean_logprob)

    player = engine(model, 4)
    signs = [1.0, -1.0] * 4
    expected = {sign: written(engine(model, 4), 4.0 * sign) for sign in signs}
    assert expected[1.0] != expected[-1.0]
    assert [written(player, 4.0 * sign) for sign in signs] == [expected[s] for s in signs]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
@ENGINES
def test_logits_that_are_not_numbers_are_an_error(
    engine: Any, top_p: float, dtype: torch.dtype
) -> None:
    model = tiny_model(dtype=dtype)
    broken = Steering(2, torch.full((32,), torch.inf, dtype=dtype), everywhere=False)

    with pytest.raises(SteeringError, match="not finite"):
        list(engine(model, 4).play([request(broken, 0)], SamplingParams(4, 1.0, top_p)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_half_precision_keeps_weights_of_a_merge_exact(
    dtype: torch.dtype, softcap: float | None
) -> None:
    """Log-sum-exps stay in float32, and a part that a mask hides wholly stays a number."""
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, 2, n, 16, generator=generator).to(dtype).mul(4) for n in (4, 12, 12))
    scores = Scores(0.25, softcap)
    lowest = torch.finfo(dtype).min
    hidden = torch.full((1, 1, 1, 12), lowest, dtype=dtype)
    seen = attend(q, k, v, scores, torch.zeros_like(hidden))
    nothing = attend(q, k, v, scores, hidden)

    both = merge(Part(seen.output, seen.lse), nothing)

    assert seen.lse.dtype == torch.float32 == both.lse.dtype
    assert both.output.dtype == dtype
    assert bool(both.output.isfinite().all())
    torch.testing.assert_close(both.output, seen.output, rtol=0.02, atol=0.02)
