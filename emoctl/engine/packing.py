"""Several continuations of one text as one sequence: who sees whom, and what predicts what.

    prefix │ trunk │ the branches as a trie: tokens that several branches begin with stand once

A branch sees the prefix, the trunk and itself, never what is another branch's alone. This is pure
bookkeeping over token ids; no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PACKED_TOKENS = 256
"""Trunk and trie tokens in one packed sequence, where a single branch is not longer."""

Branch = tuple[int, ...]


@dataclass(frozen=True)
class ScoreTree:
    """Continuations of one text: what follows the prefix, and the branches that are scored."""

    trunk: tuple[int, ...]
    """At least one token: the last one's logits predict every branch's first token."""

    branches: tuple[Branch, ...]
    response_start: int
    """Index of the response's first token, counted from the start of the prefix; steering that is
    not everywhere begins one token before it, and never inside the prefix."""


@dataclass(frozen=True, eq=False)
class Pack:
    """A trunk and some of its branches as one sequence. A branch's last token predicts nothing
    that is scored, so it is left out."""

    token_ids: Int[Tensor, " pos"]
    positions: Int[Tensor, " pos"]
    """Absolute, counted along the token's own path."""

    sees_token: Bool[Tensor, "pos pos"]
    """Which tokens of the sequence lie on each token's own path, itself included."""

    predicts: Int[Tensor, " predicting"]
    """Index of every token whose logits are needed, each once."""

    source: Int[Tensor, " scored"]
    """For every scored token, branch by branch, which entry of `predicts` predicts it."""

    targets: Int[Tensor, " scored"]

    @classmethod
    def of(
        cls, trunk: Sequence[int], branches: Sequence[Branch], n_prefix: int, device: torch.device
    ) -> "Pack":
        """Pack `branches` behind `trunk`, which follows a prefix of `n_prefix` tokens."""
        fork = len(trunk) - 1
        ids, parents = list(trunk), list(range(-1, fork))
        index: dict[Branch, int] = {(): fork}
        for node in _nodes(branches):
            parents.append(index[node[:-1]])
            index[node] = len(ids)
            ids.append(node[-1])
        sees = torch.eye(len(ids), dtype=torch.bool)
        for token, parent in enumerate(parents):
            if parent >= 0:
                sees[token] |= sees[parent]
        predictors = [index[b[:i]] for b in branches for i in range(len(b))]
        predicts = sorted(set(predictors))
        place = {token: i for i, token in enumerate(predicts)}

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        return cls(
            token_ids=tensor(ids),
            positions=(n_prefix + sees.sum(1) - 1).to(device),
            sees_token=sees.to(device),
            predicts=tensor(predicts),
            source=tensor([place[token] for token in predictors]),
            targets=tensor([token for branch in branches for token in branch]),
        )

    def sees(self, n_prefix: int, window: int | None) -> Bool[Tensor, "pos keys"]:
        """Which keys, prefix first, each token may attend to; within `window`, if there is one."""
        n = len(self.token_ids)
        seen = torch.cat([self.sees_token.new_ones(n, n_prefix), self.sees_token], dim=1)
        if window is None:
            return seen
        prefix = torch.arange(n_prefix, device=self.positions.device)
        keys = torch.cat([prefix, self.positions])
        return seen & (self.positions[:, None] - keys[None, :] < window)


def packs(tree: ScoreTree) -> list[list[Branch]]:
    """The branches in order, as many together as PACKED_TOKENS allows beside the trunk."""
    room = PACKED_TOKENS - len(tree.trunk)
    grouped: list[list[Branch]] = []
    nodes: set[Branch] = set()
    for branch in tree.branches:
        nodes |= set(_nodes([branch]))
        if not grouped or len(nodes) > room:
            grouped.append([])
            nodes = set(_nodes([branch]))
        grouped[-1].append(branch)
    return grouped


def trie_size(tree: ScoreTree) -> int:
    """Tokens of all packs of a tree: what scoring it once costs."""
    return sum(len(tree.trunk) + len(_nodes(group)) for group in packs(tree))


def _nodes(branches: Sequence[Branch]) -> list[Branch]:
    """Every distinct beginning of a branch, without its last token, parents first."""
    return list(dict.fromkeys(b[:i] for b in branches for i in range(1, len(b))))
