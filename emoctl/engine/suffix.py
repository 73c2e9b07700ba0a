"""Each row's own keys and values: what it has read and written since the prefix.

    slot 0 │ block 0: 64 tokens │ block 1 … │      one tensor a layer, at one address,
    slot 1 │ block 0            │ block 1 … │      [slots, blocks, kv_heads, 64, d_head]

Rows end, and are refilled, at their own time, so a slot has a length of its own and what lies
beyond it is hidden. Attention goes block by block, all blocks of all rows in one call: a block
always has the same shape, and one that is wholly hidden from a row has no weight in the merge, so
the bits that a row gets do not depend on how long its mates are.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoctl.engine.attention import Part, Scores, attend, merge

BLOCK = 64
"""Tokens a block."""

LEAST_QUERIES = 4
"""Of a head of keys, in a step: with one or three the CPU's kernel may round by what else is in the
batch (docs/decisions/0007); four take no longer."""


@dataclass(frozen=True)
class CacheShape:
    """What one token of one row takes in every layer."""

    n_layers: int
    kv_heads: int
    d_head: int
    dtype: torch.dtype
    device: torch.device

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.n_layers * self.kv_heads * self.d_head * self.dtype.itemsize


class SuffixCache:
    """Keys and values of all slots in all layers. Lengths are the caller's."""

    def __init__(self, shape: CacheShape, slots: int, tokens: int) -> None:
        """Room for `tokens` tokens in each of `slots` slots."""
        self.shape, self.slots = shape, slots
        self.keys = [self._empty(blocks_for(tokens)) for _ in range(shape.n_layers)]
        self.values = [self._empty(blocks_for(tokens)) for _ in range(shape.n_layers)]

    @property
    def n_tokens(self) -> int:
        """Tokens for which each slot has room."""
        return self.keys[0].shape[1] * BLOCK

    def make_room(self, tokens: int) -> None:
        """Grow, if need be, until each slot has room for `tokens` tokens; nothing is lost. One
        layer after the other, so that no more than one is held twice."""
        if tokens <= self.n_tokens:
            return
        blocks = blocks_for(max(tokens, 2 * self.n_tokens))
        for kept in (self.keys, self.values):
            for layer, narrow in enumerate(kept):
                wider = self._empty(blocks)
                wider[:, : narrow.shape[1]] = narrow
                kept[layer] = wider

    def write(
        self,
        layer: int,
        where: "Places",
        keys: Float[Tensor, "rows kv_heads pos d_head"],
        values: Float[Tensor, "rows kv_heads pos d_head"],
    ) -> None:
        """Store new tokens of some rows."""
        at = (where.slots[:, None], where.blocks, slice(None), where.offsets)
        self.keys[layer][at] = keys.transpose(1, 2)
        self.values[layer][at] = values.transpose(1, 2)

    def attend(
        self,
        layer: int,
        slots: slice,
        queries: Float[Tensor, "rows kv_heads queries d_head"],
        mask: Float[Tensor, "rows block_heads #queries block"],
        scores: Scores,
    ) -> Part:
        """Every row over its own blocks; `mask` says how many blocks, and hides in them."""
        n_asked = queries.shape[2]
        if mask.shape[2] == 1 and n_asked < LEAST_QUERIES:
            queries = torch.nn.functional.pad(queries, (0, 0, 0, LEAST_QUERIES - n_asked))
        rows, heads, n, d_head = queries.shape
        blocks = mask.shape[1] // heads

        def flat(tensor: Tensor) -> Tensor:
            return tensor.reshape(rows, blocks * heads, -1, tensor.shape[-1])

        part = attend(
            flat(queries[:, None].expand(-1, blocks, -1, -1, -1)),
            flat(self.keys[layer][slots, :blocks]),
            flat(self.values[layer][slots, :blocks]),
            scores,
            mask,
        )
        outputs = part.output.view(rows, blocks, heads, n, d_head)[..., :n_asked, :]
        lses = part.lse.view(rows, blocks, heads, n)[..., :n_asked]
        merged = Part(outputs[:, 0], lses[:, 0])
        for block in range(1, blocks):
            merged = merge(merged, Part(outputs[:, block], lses[:, block]))
        return merged

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first `length` tokens to another slot."""
        blocks = blocks_for(length)
        for kept in (*self.keys, *self.values):
            kept[target, :blocks] = kept[source, :blocks]

    def read(
        self, slot: int, length: int
    ) -> tuple[Float[Tensor, "layers blocks kv_heads block d_head"], ...]:
        """A copy of a slot's blocks that hold its first `length` tokens: keys, then values."""
        blocks = blocks_for(length)
        return tuple(
            torch.stack([layer[slot, :blocks] for layer in kept])
            for kept in (self.keys, self.values)
        )

    def fill(
        self,
        slot: int,
        copies: tuple[Float[Tensor, "layers blocks kv_heads block d_head"], ...],
    ) -> None:
        """Put what `read` gave into a slot."""
        for kept, copy in zip((self.keys, self.values), copies, strict=True):
            for layer, blocks in zip(kept, copy, strict=True):
                layer[slot, : len(blocks)] = blocks

    def _empty(self, blocks: int) -> Float[Tensor, "slots blocks kv_heads block d_head"]:
        """One layer. Zeros: a token that a mask hides must still be a number."""
        s = self.shape
        size = (self.slots, blocks, s.kv_heads, BLOCK, s.d_head)
        return torch.zeros(size, dtype=s.dtype, device=s.device)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the new tokens of some rows go."""

    slots: Int[Tensor, " rows"]
    blocks: Int[Tensor, "rows pos"]
    offsets: Int[Tensor, "rows pos"]

    @classmethod
    def after(
        cls, slots: Int[Tensor, " rows"], lengths: Int[Tensor, " rows"], n_new: int
    ) -> "Places":
        """Behind what each slot holds already."""
        index = lengths[:, None] + torch.arange(n_new, device=lengths.device)
        return cls(slots, index // BLOCK, index % BLOCK)


def suffix_mask(
    lengths: Int[Tensor, " rows"],
    longest: int,
    n_new: int,
    heads: tuple[int, int],
    window: int | None,
    dtype: torch.dtype,
) -> Float[Tensor, "rows block_heads queries block"]:
    """What the new tokens of rows see of their own blocks, once they are written: 0, or the
    dtype's lowest number.

    `lengths` are the rows' lengths before, and `longest` the greatest; a token sees itself and what
    came before it, as far back as `window` tokens, itself included. `heads` are (kv_heads, query
    heads that share one); each of several new tokens stands once a sharing head, and a single one
    once for all.
    """
    kv_heads, group = heads
    n_blocks = blocks_for(longest + n_new)
    query = lengths[:, None] + torch.arange(n_new, device=lengths.device)
    if n_new > 1:
        query = query.repeat(1, group)
    distance = query[:, :, None] - torch.arange(n_blocks * BLOCK, device=lengths.device)
    hidden = distance < 0
    if window is not None:
        hidden |= distance >= window
    mask = torch.zeros(hidden.shape, dtype=dtype, device=lengths.device)
    mask.masked_fill_(hidden, torch.finfo(dtype).min)
    by_block = mask.unflatten(2, (n_blocks, BLOCK)).transpose(1, 2)
    return by_block.repeat_interleave(kv_heads, dim=1)


def blocks_for(tokens: int) -> int:
    """Blocks that hold `tokens` tokens; at least one."""
    return max(1, -(-tokens // BLOCK))
