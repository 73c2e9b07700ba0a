"""Logits and noise → token ids: a pure function of its arguments."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoctl.engine.noise import gumbels


def sample(
    logits: Float[Tensor, "rows d_vocab"], words: Int[Tensor, "rows 2"], temperature: float
) -> Int[Tensor, " rows"]:
    """Draw one token a row, by the Gumbel-max rule; temperature 0 takes the most likely.

    Exact: each token's frequency is its probability at `temperature`. Rows with equal noise words
    and close logits draw equal tokens, which is what pairs conditions.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    noise = gumbels(words, logits.shape[-1])
    return (logits.double() / temperature + noise).argmax(dim=-1)


def logprobs_of(
    logits: Float[Tensor, "rows d_vocab"], token_ids: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Log-probability of each row's token, nats, at temperature 1."""
    return torch.log_softmax(logits.float(), dim=-1).gather(-1, token_ids[:, None])[:, 0]
