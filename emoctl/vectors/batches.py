"""Texts' tokens → which of them share a forward pass, and the padded array that it reads.

Padding stands on the right and needs no attention mask: in a causal model a token sees itself and
what is before it, so what comes after a text never reaches it. This module knows no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

BATCH_TOKENS = 512
"""Real and padding tokens of one forward pass: many enough for matrix products at full rate, few
enough for what stands between them to stay in a core's cache."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts that are read together."""

    indices: tuple[int, ...]
    """Where they stand in the caller's list."""

    token_ids: tuple[tuple[int, ...], ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each text."""
        return tuple(len(tokens) for tokens in self.token_ids)

    def padded(self, device: torch.device) -> Int[Tensor, "batch pos"]:
        """Every text's tokens from column 0 on; token 0 fills up the shorter ones."""
        array = torch.zeros(len(self.token_ids), max(self.lengths), dtype=torch.int64)
        for row, tokens in enumerate(self.token_ids):
            array[row, : len(tokens)] = torch.tensor(tokens)
        return array.to(device)


def plan_batches(token_ids: Sequence[tuple[int, ...]], budget: int) -> list[Batch]:
    """Every text once, in batches of similar length, each within `budget` padded tokens.

    A text that is longer than the budget is alone.
    """
    groups = length_batches([len(tokens) for tokens in token_ids], budget)
    return [Batch(tuple(group), tuple(token_ids[i] for i in group)) for group in groups]


def length_batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> list[list[int]]:
    """Indices grouped by similar length, each group within `budget` padded tokens; pure."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if not batches or lengths[index] * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches
