"""The rows that are in the model together: their suffixes, prefixes and steering, and one forward
pass over some of them.

This file feeds tokens and gives logits. Which rollout sits in a slot, what is drawn and when a row
ends are not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emoctl.engine.bank import SteeringBank
from emoctl.engine.cascade import Groups, NewKeys, Pass, groups_of, running
from emoctl.engine.prefix import Prefix
from emoctl.engine.reader import PassReadings, reading
from emoctl.engine.readings import Probe, Readings
from emoctl.engine.steering import Steering, SteeringCount
from emoctl.engine.suffix import CacheShape, Places, SuffixCache

MIN_ROWS = 4
"""Rows of every pass over live slots: matrix kernels take another path for one to three."""


@dataclass(frozen=True, eq=False)
class Fed:
    """What one forward pass gave for each of its rows."""

    logits: Float[Tensor, "rows d_vocab"]
    """At each row's last new token."""

    added_norms: Float[Tensor, "rows pos"] | None
    """L2 norm of what was really added at each new token; None where nothing can be."""

    seen: PassReadings

    def added(self) -> list[SteeringCount]:
        """What was added to each row. Waits for the device."""
        if self.added_norms is None:
            return [SteeringCount(0, 0.0)] * len(self.logits)
        norms = self.added_norms.double()
        counts, totals = (norms > 0).sum(1).tolist(), norms.sum(1).tolist()
        return [
            SteeringCount(n, total / n if n else 0.0)
            for n, total in zip(counts, totals, strict=True)
        ]

    def read(self) -> list[Readings | None]:
        """What was read of each row; None without a probe. Waits for the device."""
        return list(self.seen.by_row()) or [None] * len(self.logits)


class Slots:
    """A fixed number of slots, at fixed addresses."""

    def __init__(
        self,
        module: Any,
        blocks: Sequence[nn.Module],
        shape: CacheShape,
        bank: SteeringBank,
        n: int,
        tokens: int,
        probe: Probe | None,
    ) -> None:
        """`n` free slots (at least MIN_ROWS), with room for `tokens` tokens each at first."""
        self.module, self.blocks, self.bank, self.probe = module, blocks, bank, probe
        self.suffix = SuffixCache(shape, n, tokens)
        self.device = shape.device
        self.lengths = torch.zeros(n, dtype=torch.int64, device=self.device)
        self.n_prefix = torch.zeros(n, dtype=torch.int64, device=self.device)
        self.next_ids = torch.zeros(n, dtype=torch.int64, device=self.device)
        self.length_of = [0] * n
        """`lengths`, where the host can read it without waiting for the device."""

        self._prefix: list[Prefix | None] = [None] * n
        self._groups: dict[int, Groups] = {}

    def occupy(self, slot: int, prefix: Prefix, steering: Steering) -> None:
        """Let an empty suffix begin behind `prefix`, under a condition."""
        self._prefix[slot] = prefix
        self.n_prefix[slot] = prefix.n_tokens
        self.bank.put(slot, steering)
        self.set_length(slot, 0)
        self._groups.clear()

    def set_length(self, slot: int, length: int) -> None:
        """Let a slot hold its first `length` tokens only."""
        self.lengths[slot] = length
        self.length_of[slot] = length

    def move(self, source: int, target: int) -> None:
        """Let a row go on in another slot."""
        self.suffix.move(source, target, self.length_of[source])
        self.bank.move(source, target)
        self._prefix[target] = self._prefix[source]
        self.n_prefix[target] = self.n_prefix[source]
        self.next_ids[target] = self.next_ids[source]
        self.set_length(target, self.length_of[source])
        self._groups.clear()

    def free(self, slots: Sequence[int]) -> None:
        """Let these slots hold nothing, so that their prefixes can go."""
        for slot in slots:
            self._prefix[slot] = None
            self.bank.put(slot, None)
            self.set_length(slot, 0)
        self._groups.clear()

    def feed_one(self, slot: int, token_ids: Sequence[int]) -> Fed:
        """Feed one slot any number of tokens."""
        tokens = torch.tensor([list(token_ids)], device=self.device)
        self.suffix.make_room(self.length_of[slot] + len(token_ids))
        fed = self._feed(slice(slot, slot + 1), tokens, self._grouped([slot], len(token_ids)))
        self.set_length(slot, self.length_of[slot] + len(token_ids))
        return fed

    def feed_live(self, n_live: int) -> Fed:
        """Feed the first `n_live` slots the token that each has next."""
        rows = max(n_live, MIN_ROWS)
        if rows not in self._groups:
            live = list(range(n_live))
            self._groups = {rows: self._grouped(live + [0] * (rows - n_live), 1)}
        self.suffix.make_room(max(self.length_of[:n_live]) + 1)
        fed = self._feed(slice(0, rows), self.next_ids[:rows, None], self._groups[rows])
        self.lengths[:n_live] += 1
        for slot in range(n_live):
            self.length_of[slot] += 1
        return fed

    def _grouped(self, slots: Sequence[int], n_new: int) -> Groups:
        prefixes = [self._prefix[slot] for slot in slots]
        config = self.module.config.get_text_config()
        sharing = config.num_attention_heads // self.suffix.shape.kv_heads
        return groups_of([p for p in prefixes if p is not None], sharing, n_new, self.device)

    def _feed(self, slots: slice, tokens: Int[Tensor, "rows pos"], groups: Groups) -> Fed:
        lengths, n_new = self.lengths[slots], tokens.shape[1]
        at = torch.arange(slots.start, slots.stop, device=self.device)
        this = Pass(
            suffix=self.suffix,
            slots=slots,
            lengths=lengths,
            longest=max(self.length_of[slots]),
            n_new=n_new,
            places=Places.after(at, lengths, n_new),
            groups=groups,
        )
        new = torch.arange(n_new, device=self.device)
        with (
            running(this),
            self.bank.applied_to(self.blocks, slots),
            reading(self.probe, self.blocks) as seen,
        ):
            logits = self.module(
                input_ids=tokens,
                position_ids=(self.n_prefix[slots] + lengths)[:, None] + new,
                past_key_values=NewKeys(this),
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return Fed(logits[:, -1], self.bank.take_norms(), seen)
