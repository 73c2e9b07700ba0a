"""Exact scores: the log-probability of written continuations under many conditions at once.

    prefix ─────────────┬─ trunk ─┬─ branch      one packed sequence: a branch sees the prefix,
    (computed once)     │         ├─ branch      the trunk and itself, never a sibling
                        └─ trunk …└─ branch
    layers 0..L: one row · at layer L the steering hook widens the batch to a row a condition

The conditions of a call share the steered layer L, so everything up to it is the same for all and
is computed once; above it there is one row a condition. Nothing is sampled, so nothing is random.
The engine deals in token ids: it does not know what a continuation says or what an option means.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from emoctl.engine.generate import keys_and_values
from emoctl.engine.steering import Steering, SteeringTable, check_count
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel

PACKED_TOKENS = 96
"""Trunk and branch tokens in one packed sequence, where a single branch is not longer."""


@dataclass(frozen=True)
class ScoreTree:
    """Continuations of one text: what follows the prefix, and the branches that are scored."""

    trunk: tuple[int, ...]
    """At least one token: the last one's logits predict every branch's first token."""

    branches: tuple[tuple[int, ...], ...]
    response_start: int
    """Index of the response's first token, counted from the start of the prefix; steering that is
    not everywhere begins one token before it, and never inside the prefix."""


@dataclass(frozen=True)
class BranchScore:
    """One branch under one condition."""

    n_tokens: int
    logprob: float
    """Sum over the branch's tokens, nats."""

    n_steered: int
    """Steered positions that the branch was conditioned on."""


@torch.inference_mode()
def score(
    model: LoadedModel,
    prefix: Sequence[int],
    trees: Sequence[ScoreTree],
    steerings: Sequence[Steering],
) -> list[list[list[BranchScore]]]:
    """Score every branch of every tree under every condition: [condition][tree][branch].

    Conditions steer one layer and the same positions.

    Raises:
        ModelError: the architecture takes no explicit positions, so branches cannot be packed.
        SteeringError: a condition did not add what it says.
        ValueError: conditions steer different layers or positions, or a tree's response begins
            inside the prefix.
    """
    if any(tree.response_start - 1 < len(prefix) for tree in trees):
        raise ValueError("the last prompt token belongs to the trunk, not to the prefix")
    if len({(s.layer, s.everywhere) for s in steerings if not s.is_zero}) > 1:
        raise ValueError("the conditions of one call steer one layer and the same positions")
    if "position_ids" not in inspect.signature(model.module.forward).parameters:
        raise ModelError(
            f"{type(model.module).__name__} takes no position_ids, so scores cannot be packed",
            hint="use the readout 'sample' with this model",
        )
    scorer = _Scorer(model, tuple(prefix), tuple(steerings))
    by_tree = [scorer.tree(tree) for tree in trees]
    return [[tree[row] for tree in by_tree] for row in range(len(steerings))]


class _PrefixLayer(DynamicLayer):
    """A layer's keys and values of the prefix, which what follows attends to and never extends."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.prefix = (keys, values)
        self.keys, self.values = keys, values
        self.is_initialized = True
        self.dtype, self.device = keys.dtype, keys.device

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        rows = key_states.shape[0]
        keys, values = self.prefix
        return (
            torch.cat([keys.expand(rows, -1, -1, -1), key_states], dim=2),
            torch.cat([values.expand(rows, -1, -1, -1), value_states], dim=2),
        )


class _Scorer:
    """The prefix under all conditions, held while the trees are scored."""

    def __init__(
        self,
        model: LoadedModel,
        prefix: tuple[int, ...],
        steerings: tuple[Steering, ...],
    ) -> None:
        self.model, self.steerings, self.n_prefix = model, steerings, len(prefix)
        self.steered = next((s for s in steerings if not s.is_zero), steerings[0])
        cache = DynamicCache()
        if prefix:
            positions = torch.arange(len(prefix), device=model.device)[None]
            with self._steered(positions, response_start=len(prefix) + 1):
                model.module(
                    input_ids=torch.tensor([list(prefix)], device=model.device),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
        self.prefix_layers = [
            _PrefixLayer(keys, values) for keys, values in zip(*keys_and_values(cache), strict=True)
        ]

    def tree(self, tree: ScoreTree) -> list[list[BranchScore]]:
        """Scores of one tree's branches: [condition][branch]."""
        scores: list[list[BranchScore]] = [[] for _ in self.steerings]
        for branches in _packs(tree):
            for row, row_scores in enumerate(self._pack(tree, branches)):
                scores[row].extend(row_scores)
        return scores

    def _pack(
        self, tree: ScoreTree, branches: Sequence[tuple[int, ...]]
    ) -> list[list[BranchScore]]:
        pack = _Pack.of(tree.trunk, branches, self.n_prefix, self.model.device)
        cache = DynamicCache()
        cache.layers = list(self.prefix_layers)
        positions = pack.positions[None]
        with self._steered(positions, tree.response_start):
            logits = self.model.module(
                input_ids=pack.token_ids[None],
                position_ids=positions,
                attention_mask=self._masks(pack),
                past_key_values=cache if self.prefix_layers else None,
                use_cache=bool(self.prefix_layers),
                logits_to_keep=pack.predicts,
            ).logits
        logits = logits.expand(len(self.steerings), -1, -1)
        targets = pack.targets.expand(len(self.steerings), -1)[..., None]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logprobs = logits.gather(-1, targets)[..., 0] - logits.logsumexp(-1)
        return [
            [
                self._score(steering, tree, branch, part)
                for branch, part in zip(
                    branches, row.split([len(b) for b in branches]), strict=True
                )
            ]
            for steering, row in zip(self.steerings, logprobs.double(), strict=True)
        ]

    def _score(
        self,
        steering: Steering,
        tree: ScoreTree,
        branch: tuple[int, ...],
        logprobs: Float[Tensor, " tokens"],
    ) -> BranchScore:
        n_fed = self.n_prefix + len(tree.trunk) + len(branch) - 1
        n_steered = 0 if steering.is_zero else n_fed - steering.steer_from(tree.response_start)
        return BranchScore(len(branch), float(logprobs.sum()), n_steered)

    @contextmanager
    def _steered(self, positions: Int[Tensor, "1 pos"], response_start: int) -> Iterator[None]:
        """Steer the forward pass inside the block, then hold what was added, condition by
        condition, against what should have been."""
        model, rows = self.model, len(self.steerings)
        table = SteeringTable(self.steerings, response_start, model.device, model.dtype)
        with table.applied_to(model.blocks, positions, n_real=rows):
            yield
        expected = int((positions >= self.steered.steer_from(response_start)).sum())
        for row, (steering, count) in enumerate(zip(self.steerings, table.counts(), strict=True)):
            check_count(steering, count, expected, f"condition {row} of a score")

    def _masks(self, pack: "_Pack") -> Any:
        """Additive masks, one for each kind of attention layer that the config names."""
        config = self.model.module.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ())
        seen = pack.sees(self.n_prefix)
        if not kinds:
            return self._additive(seen & pack.within(self.n_prefix, window))
        known = {"full_attention": None, "sliding_attention": window}
        if not kinds <= set(known):
            raise ModelError(
                f"{type(self.model.module).__name__} has layers of kind "
                f"{', '.join(sorted(kinds - set(known)))}, which exact scores do not cover",
                hint="use the readout 'sample' with this model",
            )
        masks = {
            kind: self._additive(seen & pack.within(self.n_prefix, known[kind])) for kind in kinds
        }
        return masks if len(masks) > 1 or "sliding_attention" in masks else masks["full_attention"]

    def _additive(self, seen: Bool[Tensor, "pos keys"]) -> Float[Tensor, "1 1 pos keys"]:
        zeros = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
        return zeros.masked_fill(~seen, torch.finfo(self.model.dtype).min)[None, None]


@dataclass(frozen=True, eq=False)
class _Pack:
    """A trunk and some of its branches as one sequence. A branch's last token predicts nothing
    that is scored, so it is left out."""

    token_ids: Int[Tensor, " pos"]
    positions: Int[Tensor, " pos"]
    """Absolute, counted along the branch's own path."""

    segment: Int[Tensor, " pos"]
    """0 for the trunk, then one number a branch."""

    predicts: Int[Tensor, " scored"]
    """Index, for every scored token, of the token whose logits predict it."""

    targets: Int[Tensor, " scored"]

    @classmethod
    def of(
        cls,
        trunk: tuple[int, ...],
        branches: Sequence[tuple[int, ...]],
        n_prefix: int,
        device: torch.device,
    ) -> "_Pack":
        ids, segment, predicts = list(trunk), [0] * len(trunk), []
        positions = list(range(n_prefix, n_prefix + len(trunk)))
        for number, branch in enumerate(branches, start=1):
            start = len(ids)
            ids += branch[:-1]
            segment += [number] * (len(branch) - 1)
            first = n_prefix + len(trunk)
            positions += range(first, first + len(branch) - 1)
            predicts += [len(trunk) - 1, *range(start, start + len(branch) - 1)]
        targets = [token for branch in branches for token in branch]

        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        return cls(*map(tensor, (ids, positions, segment, predicts, targets)))

    def sees(self, n_prefix: int) -> Bool[Tensor, "pos keys"]:
        """Which keys, prefix first, each token may attend to."""
        own = self.segment[:, None] == self.segment[None, :]
        to_trunk = self.segment[None, :] == 0
        order = torch.arange(len(self.segment), device=self.segment.device)
        among = (own | to_trunk) & (order[None, :] <= order[:, None])
        return torch.cat([among.new_ones(len(self.segment), n_prefix), among], dim=1)

    def within(self, n_prefix: int, window: int | None) -> Bool[Tensor, "pos keys"]:
        """Which keys lie inside a sliding window; all of them where there is none."""
        keys = torch.cat([torch.arange(n_prefix, device=self.positions.device), self.positions])
        distance = self.positions[:, None] - keys[None, :]
        return distance < window if window else torch.ones_like(distance, dtype=torch.bool)


def _packs(tree: ScoreTree) -> list[list[tuple[int, ...]]]:
    """The branches in order, as many together as PACKED_TOKENS allows beside the trunk."""
    packs: list[list[tuple[int, ...]]] = []
    room = 0
    for branch in tree.branches:
        if not packs or len(branch) > room:
            packs.append([])
            room = PACKED_TOKENS - len(tree.trunk)
        packs[-1].append(branch)
        room -= len(branch)
    return packs
