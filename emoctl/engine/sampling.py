"""Logits and noise → token ids: pure functions of their arguments."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoctl.engine.noise import gumbels, noise_bits

MARGIN = 1e-2
"""How far below the best single-precision score a token may lie and still be looked at again; such
a score errs by less than a hundredth of this."""

UNRESOLVED = 2**18
"""Of the 2³² values of 1 - u, how many of the largest single precision cannot tell apart well
enough. Their tokens are scored as if they had the next one, which is too high; where one of them
comes near the best, all are scored again."""

RESOLVED = 1 - UNRESOLVED / 2**32


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
    # 1 - u instead of u: single precision resolves the large noises that way
    bits = noise_bits(words[None], len(logits))[0].bitwise_xor_(2**31 - 1)
    rest = bits.view(torch.uint32).to(torch.float32).add_(0.5).mul_(2.0**-32)
    score = (
        rest.clamp_(max=RESOLVED)
        .neg_()
        .log1p_()
        .neg_()
        .log_()
        .neg_()
        .add_(logits, alpha=1 / temperature)
    )
    best, token = score.max(dim=0)
    if not bool(best.isfinite()):
        return token  # its log-probability says so
    is_near = score >= best - MARGIN
    near = token[None] if int(is_near.sum()) == 1 else is_near.nonzero()[:, 0]
    if bool(((bits[near] < 0) & (bits[near] >= -UNRESOLVED)).any()):
        return sample(logits[None], words[None], temperature)[0]
    if len(near) == 1:
        return token
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
