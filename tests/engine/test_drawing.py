"""The quick way to draw gives the tokens of the exact one, and a nucleus is what it says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emoctl.engine import noise, sampling
from emoctl.engine.noise import NoiseKey, uniforms
from emoctl.engine.sampling import MARGIN, draw, nucleus, sample

quick = settings(max_examples=60, deadline=None)
SHAPES_OF_LOGITS = ("normal", "flat", "peaked", "ties", "real-like", "far from zero", "wide")


def keys(n: int, seed: int = 1) -> Tensor:
    return torch.tensor([NoiseKey(seed, "s", "v", r).words(0) for r in range(n)])


def logits_of(kind: str, seed: int, n: int, d_vocab: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, d_vocab, generator=generator)
    ranks = torch.rand(n, d_vocab, generator=generator).argsort(-1) + 1.0
    made = {
        "normal": 3 * drawn,
        "flat": 1e-4 * drawn,
        "peaked": drawn + 30 * (ranks == 1),
        "ties": drawn.round(),
        "real-like": 20 - 4 * ranks.log() + 0.5 * drawn,
        "far from zero": drawn - 80,
        "wide": 200 * drawn,
    }
    return made[kind]


@quick
@given(
    st.sampled_from(SHAPES_OF_LOGITS),
    st.integers(0, 10**6),
    st.sampled_from([3, 61, 1000, 30_011]),
    st.floats(0.1, 3),
    st.sampled_from([1.0, 1.0, 0.9, 0.3]),
)
def test_the_quick_way_draws_what_the_exact_one_does(
    kind: str, seed: int, d_vocab: int, temperature: float, top_p: float
) -> None:
    logits, words = logits_of(kind, seed, 6, d_vocab), keys(6, seed)
    before = logits.clone()
    ours = draw(logits, words, temperature, top_p)
    assert torch.equal(ours, sample(logits, words, temperature, top_p))
    assert torch.equal(logits, before), "what was handed over is left alone"


def test_near_ties_are_looked_at_again() -> None:
    """Scores that differ by less than single precision tells are told apart."""
    n, d_vocab = 400, 3000
    words = keys(n)
    exact = sample(torch.zeros(n, d_vocab), words, 1.0)
    tied = torch.zeros(n, d_vocab)
    rivals = (exact + 1) % d_vocab
    noises = -torch.log(-torch.log(uniforms(words, d_vocab)))
    rows = torch.arange(n)
    gap = (noises[rows, exact] - noises[rows, rivals]).float()
    tied[rows, rivals] = gap  # now both score the same, up to a rounding of the gap
    ours, wanted = draw(tied, words, 1.0), sample(tied, words, 1.0)
    assert torch.equal(ours, wanted)
    assert 0 < int((wanted == rivals).sum()) < n, "either may win"
    single = (tied + noises.float()).argmax(-1)
    assert not torch.equal(single, wanted), "control: single precision alone takes the wrong one"
    assert float((gap - gap.double()).abs().max()) < MARGIN


def slow_nucleus(logits: list[float], top_p: float) -> set[int]:
    """The most likely tokens, one by one, until they have enough."""
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    total, kept, reached = math.fsum(weights), set[int](), 0.0
    for token in sorted(range(len(logits)), key=lambda t: (-weights[t], t)):
        kept.add(token)
        reached += weights[token] / total
        if reached >= top_p:
            break
    return kept


@quick
@given(
    st.lists(
        st.integers(-20_000, 20_000).map(lambda thousandths: thousandths / 1000),  # no near ties
        min_size=1,
        max_size=12,
        unique=True,
    ),
    st.floats(0.01, 0.99),
)
def test_a_nucleus_equals_the_slow_one(logits: list[float], top_p: float) -> None:
    tensor = torch.tensor([logits], dtype=torch.float64)
    before = tensor.softmax(-1).sort(descending=True).values.cumsum(-1)
    if (before - top_p).abs().min() < 1e-12:
        return  # the last token in is a matter of rounding
    ours = nucleus(tensor, top_p)[0]
    inside = {token for token, logit in enumerate(ours.tolist()) if logit != -math.inf}
    assert inside == slow_nucleus(logits, top_p)
    assert all(ours[token] == tensor[0, token] for token in inside)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("way", [draw, sample])
def test_frequencies_in_a_nucleus_are_renormalised(way: object) -> None:
    probabilities = torch.tensor([0.05, 0.3, 0.15, 0.5])
    n = 3000
    drawn = way(probabilities.log().expand(n, 4).contiguous(), keys(n), 1.0, 0.85)  # type: ignore[operator]
    shares = drawn.bincount(minlength=4) / n
    wanted = torch.tensor([0, 0.3, 0.15, 0.5]) / 0.95
    assert shares[0] == 0
    assert ((shares - wanted).abs() <= 4 * (wanted * (1 - wanted) / n).sqrt()).all()
    everything = way(probabilities.log().expand(n, 4).contiguous(), keys(n), 1.0, 1.0)  # type: ignore[operator]
    assert int((everything == 0).sum()) > n / 40, "control: without a nucleus it is drawn"


def test_a_nucleus_is_taken_at_the_temperature() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(400, 3).contiguous()
    cold, hot = (set(draw(logits, keys(400), t, 0.6).tolist()) for t in (1.0, 5.0))
    assert cold == {2} and hot == {1, 2}


@pytest.mark.parametrize("share", [1e-9, 2e-7, 1e-5, 5e-5, 7e-5, 1e-3])
def test_tokens_of_small_noise_can_be_drawn(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token far ahead of all others is drawn even if its noise is as small as it gets."""
    d_vocab = 50
    bits = torch.arange(d_vocab, dtype=torch.int32)[None] * 10**6
    bits[0, 7] = -(2**31) + int(share * 2**32)
    for module in (sampling, noise):
        monkeypatch.setattr(module, "noise_bits", lambda *_: bits.clone())
    lead = torch.arange(-8, 12, 0.01)
    logits = torch.zeros(len(lead), d_vocab)
    logits[:, 7] = lead
    noises = keys(len(lead))

    ours = draw(logits, noises, 1.0)

    assert torch.equal(ours, torch.cat([sample(row[None], noises[:1], 1.0) for row in logits]))
    assert ours[-1] == 7 and ours[0] != 7, "control: from some lead on it is drawn"
