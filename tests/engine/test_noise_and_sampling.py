"""Noise is a function of its key alone, and sampling by it is exact."""

import hashlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emoctl.engine.noise import NoiseKey, gumbels, uniforms
from emoctl.engine.sampling import logprobs_of, sample

KEY = NoiseKey(seed=7, scenario="s", variant="v", rollout=0)


def words(*keys: NoiseKey, index: int = 0) -> torch.Tensor:
    return torch.tensor([key.words(index) for key in keys])


def slow_uniform(key: NoiseKey, index: int, token: int) -> float:
    """The same number from Python's integers."""

    def mix(x: int) -> int:
        x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
        x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
        return x ^ (x >> 16)

    text = (
        f"{key.seed}\x1f{key.scenario}\x1f{key.variant}\x1f{key.rollout}\x1f{key.turn}\x1f{index}"
    )
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    first, second = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4))
    bits = mix((mix(token ^ first) + second) % 2**32)
    signed = bits - 2**32 if bits >= 2**31 else bits
    return (signed + 2**31 + 0.5) / 2**32


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 500), st.integers(0, 60))
def test_noise_equals_plain_integer_arithmetic(
    seed: int, rollout: int, index: int, token: int
) -> None:
    key = NoiseKey(seed, "replacement-affair", "short", rollout)

    ours = uniforms(words(key, index=index), 61)[0, token].item()

    assert ours == slow_uniform(key, index, token)


@pytest.mark.parametrize(
    "other",
    [
        NoiseKey(8, "s", "v", 0),
        NoiseKey(7, "t", "v", 0),
        NoiseKey(7, "s", "w", 0),
        NoiseKey(7, "s", "v", 1),
        NoiseKey(7, "s", "v", 0, turn=1),
    ],
)
def test_every_part_of_the_key_matters(other: NoiseKey) -> None:
    assert torch.equal(uniforms(words(KEY), 50), uniforms(words(KEY), 50))
    assert not torch.equal(uniforms(words(KEY), 50), uniforms(words(other), 50))
    assert not torch.equal(uniforms(words(KEY), 50), uniforms(words(KEY, index=1), 50))


def test_noise_is_uniform_and_uncorrelated_between_rollouts() -> None:
    u = uniforms(words(*(NoiseKey(0, "s", "v", r) for r in range(200))), 500)

    assert abs(u.mean().item() - 0.5) < 4 * math.sqrt(1 / 12 / u.numel())
    counts = torch.histc(u, bins=10, min=0, max=1) / u.numel()
    assert (counts - 0.1).abs().max() < 0.005
    neighbours = torch.corrcoef(torch.stack([u[:-1].flatten(), u[1:].flatten()]))[0, 1]
    assert abs(neighbours.item()) < 0.02
    assert torch.isfinite(gumbels(words(KEY), 1000)).all()


def test_frequencies_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.05, 0.15, 0.3, 0.5])
    n = 20_000
    keys = torch.tensor([NoiseKey(1, "s", "v", r).words(0) for r in range(n)])

    drawn = sample(probabilities.log().expand(n, 4), keys, temperature=1.0)

    shares = drawn.bincount(minlength=4) / n
    allowed = 4 * (probabilities * (1 - probabilities) / n).sqrt()
    assert ((shares - probabilities).abs() < allowed).all()


def test_temperature_zero_takes_the_most_likely_whatever_the_noise() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.9]]).expand(50, 3)
    keys = torch.tensor([NoiseKey(1, "s", "v", r).words(0) for r in range(50)])

    assert sample(logits, keys, 0.0).tolist() == [1] * 50
    assert len(set(sample(logits, keys, 1.0).tolist())) > 1, "control: noise matters at 1"


def test_equal_noise_couples_close_distributions() -> None:
    """What pairing conditions by rollout buys: far fewer differing draws than by chance."""
    n = 4000
    keys = torch.tensor([NoiseKey(1, "s", "v", r).words(0) for r in range(n)])
    others = torch.tensor([NoiseKey(2, "s", "v", r).words(0) for r in range(n)])
    logits = torch.zeros(n, 20)
    nudged = logits.clone()
    nudged[:, 0] += 0.2

    coupled = (sample(logits, keys, 1.0) != sample(nudged, keys, 1.0)).float().mean()
    independent = (sample(logits, keys, 1.0) != sample(nudged, others, 1.0)).float().mean()

    assert coupled < 0.03
    assert independent > 0.9


def test_logprobs_are_at_temperature_one() -> None:
    logits = torch.tensor([[0.0, 1.0]])

    assert logprobs_of(logits, torch.tensor([1])).item() == pytest.approx(
        1 - math.log(1 + math.e), abs=1e-6
    )
