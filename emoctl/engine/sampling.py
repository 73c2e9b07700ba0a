"""Logits and noise → token ids: pure functions of their arguments."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoctl.engine.noise import gumbels, noise_bits

MARGIN = 1e-2
"""How far below the best single-precision score a token may lie and still be looked at again; such
a score errs by less than a hundredth of this."""


def sample(
    logits: Float[Tensor, "rows d_vocab"],
    words: Int[Tensor, "rows 2"],
    temperature: float,
    top_p: float = 1.0,
) -> Int[Tensor, " rows"]:
    """Draw one token a row, by the Gumbel-max rule; temperature 0 takes the most likely.

    Exact: each token's frequency is its probability at `temperature`, renormalised over the
    nucleus where `top_p` is below 1. Rows with equal noise words and close logits draw equal
    tokens, which is what pairs conditions.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits.double() / temperature
    if top_p < 1:
        scaled = nucleus(scaled, top_p)
    return (scaled + gumbels(words, logits.shape[-1])).argmax(dim=-1)


def draw(
    logits: Float[Tensor, "rows d_vocab"],
    words: Int[Tensor, "rows 2"],
    temperature: float,
    top_p: float = 1.0,
) -> Int[Tensor, " rows"]:
    """The tokens that `sample` draws, a few times as fast on a CPU.

    Scores are first taken in single precision, a row at a time, which stays in the processor's
    cache; the few tokens near the best one are then scored again in double precision.
    """
    if temperature == 0 or logits.device.type != "cpu" or logits.dtype != torch.float32:
        return sample(logits, words, temperature, top_p)
    if top_p < 1:
        logits = nucleus(logits.double() / temperature, top_p).mul_(temperature).float()
    return torch.stack(
        [_draw_row(row, key, temperature) for row, key in zip(logits, words, strict=True)]
    )


def _draw_row(
    logits: Float[Tensor, " d_vocab"], words: Int[Tensor, " 2"], temperature: float
) -> Int[Tensor, ""]:
    bits = noise_bits(words[None], len(logits))[0]
    # 1 - u, where it is small: single precision resolves the large noises that way
    rest = bits.bitwise_not_().to(torch.float32).add_(2.0**31 + 0.5).mul_(2.0**-32)
    score = rest.neg_().log1p_().neg_().log_().neg_()
    score.add_(logits, alpha=1 / temperature)
    best, token = score.max(dim=0)
    is_near = score >= best - MARGIN
    if int(is_near.sum()) == 1:
        return token
    near = is_near.nonzero()[:, 0]
    noise = gumbels(words[None], len(logits))[0, near]
    return near[(logits[near].double() / temperature + noise).argmax()]


def nucleus(logits: Float[Tensor, "rows d_vocab"], top_p: float) -> Float[Tensor, "rows d_vocab"]:
    """Logits with -inf outside the smallest set of most likely tokens whose probability reaches
    `top_p`; the most likely one is always in it."""
    probabilities, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(-1) - probabilities
    outside = (before >= top_p).scatter(-1, order, before >= top_p)
    return logits.masked_fill(outside, -torch.inf)


def logprobs_of(
    logits: Float[Tensor, "rows d_vocab"], token_ids: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Log-probability of each row's token, nats, at temperature 1."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    totals = torch.cat([part.logsumexp(-1) for part in logits.split(4)])
    return logits.gather(-1, token_ids[:, None])[:, 0] - totals
