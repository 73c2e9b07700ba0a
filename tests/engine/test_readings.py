"""A reading is the cosine of the steered stream with a direction, at each token that is fed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from naive import float64_throughout
from tiny_models import CONFIGS, EOS, tiny_model
from torch import Tensor

from emoctl.engine.generate import generate, prefill
from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Probe, Readings
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel

PROMPT = (1, *range(5, 30))
START = len(PROMPT) - 2
LEAD = len(PROMPT) - START
LAYERS = (1, 3)


def unit(n: int, seed: int) -> Tensor:
    drawn = torch.randn(n, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


DIRECTIONS = torch.stack([unit(5, layer) for layer in LAYERS])


def steering(layer: int, size: float, everywhere: bool = True) -> Steering:
    return Steering(layer, size * unit(1, 9)[0].float(), everywhere)


CONDITIONS = [steering(2, 0.0), steering(2, 4.0), steering(1, -4.0), steering(1, 4.0, False)]


def probe(prompt: bool = False) -> Probe:
    return Probe(LAYERS, DIRECTIONS, prompt)


def play(
    model: LoadedModel,
    read: Probe | None,
    conditions: Sequence[Steering] = CONDITIONS,
    n: int = 8,
) -> list[Completion]:
    requests = [
        RolloutRequest(PROMPT, START, c, NoiseKey(5, "s", "v", r))
        for c in conditions
        for r in range(3)
    ]
    done = generate(
        model,
        requests,
        lambda s: prefill(model, PROMPT, START, s, read),
        SamplingParams(n, 1.0),
        read,
    )
    return sorted(done, key=lambda completion: completion.index)


@torch.inference_mode()
def streams(model: LoadedModel, token_ids: Sequence[int], condition: Steering) -> list[Tensor]:
    """resid_post of every layer of one whole pass without a cache, plainly steered."""
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            resid = (output[0] if isinstance(output, tuple) else output).clone()
            if layer == condition.layer:
                resid[:, condition.steer_from(START) :] += condition.added.to(resid.dtype)
            kept[layer] = resid[0]
            return (resid, *output[1:]) if isinstance(output, tuple) else resid

        return hook

    handles = [block.register_forward_hook(keep(i)) for i, block in enumerate(model.blocks)]
    model.module(torch.tensor([list(token_ids)]), use_cache=False)
    for handle in handles:
        handle.remove()
    return [kept[i] for i in range(len(kept))]


def naive(model: LoadedModel, done: Completion, condition: Steering, layers: Sequence[int]) -> Any:
    """Cosines [tokens, layers, directions] from the last prompt token on, the long way."""
    fed = [*PROMPT, *done.token_ids[:-1]]
    seen = streams(model, fed, condition)
    per_layer = [
        torch.nn.functional.cosine_similarity(
            seen[layer][START - 1 :, None], DIRECTIONS[i][None], dim=-1
        )
        for i, layer in enumerate(layers)
    ]
    return torch.stack(per_layer, dim=1).numpy()


def test_a_stream_along_a_direction_reads_one() -> None:
    planted = torch.stack([3 * DIRECTIONS[0, 0], -0.5 * DIRECTIONS[0, 1], torch.zeros(32)])
    cosines, norms = probe().read(planted, 1)
    assert cosines[0, 0] == pytest.approx(1)
    assert cosines[1, 1] == pytest.approx(-1)
    assert norms.tolist() == pytest.approx([3, 0.5, 0])
    assert cosines[2].isnan().all(), "a stream of length 0 points nowhere"
    huge, norm = probe().read(torch.full((1, 32), 1e30, dtype=torch.float32), 1)
    assert norm.isinf().all() and huge.isnan().all(), "nor does one too long to measure read 0"
    other, _ = probe().read(planted, 3)
    assert other[:2].abs().max() < 0.9, "control: the other layer has other directions"


def test_a_half_precision_stream_is_read_in_single_precision() -> None:
    resid = torch.full((1, 32), 3e4, dtype=torch.float16)
    cosines, norms = probe().read(resid, 1)
    assert cosines.dtype == norms.dtype == torch.float32
    assert norms.isfinite().all() and cosines.isfinite().all()
    assert resid.norm(dim=-1).isinf().all(), "control: in half precision the norm overflows"


def test_readings_are_compact() -> None:
    (done, *_) = play(tiny_model(), probe())
    read = done.readings
    assert read is not None
    assert read.cosines.dtype == np.float16 and read.norms.dtype == np.float32
    n_tokens = len(done.token_ids) + LEAD
    assert read.cosines.nbytes == 2 * n_tokens * len(LAYERS) * 5
    full = Readings(0, np.zeros((64, 1, 171), np.float16), np.zeros((64, 1), np.float32))
    assert full.cosines.nbytes + full.norms.nbytes == 22_144


@pytest.mark.parametrize("name", CONFIGS)
def test_readings_equal_those_of_a_whole_pass(name: str) -> None:
    model = tiny_model(name)
    with float64_throughout():
        for index, done in enumerate(play(model, probe())):
            read, condition = done.readings, CONDITIONS[index // 3]
            assert read is not None and read.first == -1
            wanted = naive(model, done, condition, LAYERS)
            assert read.cosines.shape == wanted.shape == (LEAD + len(done.token_ids), 2, 5)
            assert np.abs(read.cosines - wanted).max() < 5e-4
            elsewhere = naive(model, done, condition, (0, 2))
            assert np.abs(read.cosines - elsewhere).max() > 0.05, "control: other layers differ"
            seen = streams(model, [*PROMPT, *done.token_ids[:-1]], condition)
            norms = torch.stack([seen[i][START - 1 :].norm(dim=-1) for i in LAYERS], dim=1)
            assert np.allclose(read.norms, norms.numpy(), rtol=1e-5)


def test_the_prompt_is_read_on_request() -> None:
    model = tiny_model()
    plain, whole = play(model, probe()), play(model, probe(prompt=True))
    for one, other in zip(plain, whole, strict=True):
        assert one.readings is not None and other.readings is not None
        assert other.readings.first == -START
        assert len(other.readings.cosines) == len(PROMPT) + len(one.token_ids) - 1
        np.testing.assert_array_equal(other.readings.cosines[START - 1 :], one.readings.cosines)
    assert len(whole[0].readings.cosines) > len(plain[0].readings.cosines)  # type: ignore[union-attr]


def test_what_was_added_is_in_the_reading_of_the_steered_layer() -> None:
    model = tiny_model()
    along = Steering(1, 50 * DIRECTIONS[0, 2].float(), True)
    still, pushed = play(model, probe(), [steering(1, 0.0), along], n=2)[::3]
    assert still.readings is not None and pushed.readings is not None
    assert (pushed.readings.cosines[:, 0, 2] > 0.9).all()
    assert (still.readings.cosines[:, 0, 2] < 0.9).all(), "control"


def test_reading_changes_nothing_that_is_written() -> None:
    model = tiny_model()
    with_probe, without = play(model, probe()), play(model, None)
    assert [c.token_ids for c in with_probe] == [c.token_ids for c in without]
    assert [c.mean_logprob for c in with_probe] == [c.mean_logprob for c in without]
    assert all(c.readings is None for c in without)
    assert any(EOS in c.token_ids for c in play(model, None, n=40)), "control: rows end early too"
    lengths = {len(c.readings.cosines) for c in play(model, probe(), n=40) if c.readings}
    assert len(lengths) > 1


def test_a_prompt_that_was_not_read_is_refused() -> None:
    model = tiny_model()
    request = RolloutRequest(PROMPT, START, CONDITIONS[0], NoiseKey(5, "s", "v", 0))
    done = generate(
        model,
        [request],
        lambda s: prefill(model, PROMPT, START, s),
        SamplingParams(2, 1.0),
        probe(),
    )
    with pytest.raises(ValueError, match="without the probe"):
        next(done)
