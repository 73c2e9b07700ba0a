"""The suffix: what is written into a slot stays in its place, and a row sees its own, so far."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emoctl.engine.attention import Scores
from emoctl.engine.suffix import BLOCK, CacheShape, Places, SuffixCache, blocks_for, suffix_mask

F64 = torch.float64
SHAPE = CacheShape(2, 2, 8, F64, torch.device("cpu"))
quick = settings(max_examples=25, deadline=None)
LENGTHS = st.lists(st.integers(0, 2 * BLOCK + 3), min_size=1, max_size=4)


def drawn(seed: int, *size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def filled(lengths: list[int], n_new: int = 0) -> tuple[SuffixCache, Tensor, Tensor]:
    """A cache whose slots hold that many tokens, and their keys and values as they were given."""
    longest = max(lengths) + n_new
    cache = SuffixCache(SHAPE, len(lengths), longest)
    keys, values = (drawn(s, 2, len(lengths), 2, longest, 8) for s in (1, 2))
    for slot, length in enumerate(lengths):
        write(
            cache, slot, 0, keys[:, slot, :, : length + n_new], values[:, slot, :, : length + n_new]
        )
    return cache, keys, values


def write(cache: SuffixCache, slot: int, start: int, keys: Tensor, values: Tensor) -> None:
    n = keys.shape[2]
    where = Places.after(torch.tensor([slot]), torch.tensor([start]), n)
    for layer in range(SHAPE.n_layers):
        cache.write(layer, where, keys[layer][None], values[layer][None])


def kept(cache: SuffixCache, slot: int, length: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a slot's first tokens, [layers, kv_heads, pos, d_head]."""
    flat = [t.transpose(1, 2).flatten(2, 3) for t in cache.read(slot, length)]
    return flat[0][:, :, :length], flat[1][:, :, :length]


def holds(cache: SuffixCache, slot: int, keys: Tensor, values: Tensor) -> bool:
    ours = kept(cache, slot, keys.shape[2])
    return torch.equal(ours[0], keys) and torch.equal(ours[1], values)


@quick
@given(LENGTHS)
def test_what_is_written_stays(lengths: list[int]) -> None:
    cache, keys, values = filled(lengths)
    room = cache.n_tokens
    cache.make_room(room)
    assert cache.n_tokens == room
    cache.make_room(room + 1)
    assert cache.n_tokens >= 2 * room, "growing again and again costs no more than once"
    for slot, length in enumerate(lengths):
        assert holds(cache, slot, keys[:, slot, :, :length], values[:, slot, :, :length])
    assert not any(lengths) or not holds(cache, 0, 0 * keys[:, 0] + 7, values[:, 0]), "control"


@quick
@given(LENGTHS, st.integers(0, 2 * BLOCK))
def test_moves_and_copies_take_every_token(lengths: list[int], other: int) -> None:
    cache, keys, values = filled([*lengths, other])
    source = len(lengths)
    copied = cache.read(source, other)
    cache.move(source, 0, other)
    cache.fill(source - 1, copied)
    wanted = keys[:, source, :, :other], values[:, source, :, :other]
    for slot in {0, source - 1, source}:
        assert holds(cache, slot, *wanted)
    for slot in range(1, source - 1):
        assert holds(
            cache, slot, keys[:, slot, :, : lengths[slot]], values[:, slot, :, : lengths[slot]]
        )


@quick
@given(LENGTHS, st.integers(1, 6), st.sampled_from([None, 1, 5, BLOCK + 1]), st.integers(1, 3))
def test_rows_see_themselves_as_far_as_they_may(
    lengths: list[int], n_new: int, window: int | None, sharing: int
) -> None:
    """Against a loop over rows, heads, new tokens and what came before them."""
    cache, keys, values = filled(lengths, n_new)
    rows, heads = len(lengths), 2
    queries = drawn(3, rows, heads, sharing * n_new, 8)
    mask = suffix_mask(torch.tensor(lengths), max(lengths), n_new, (heads, sharing), window, F64)
    part = cache.attend(1, slice(0, rows), queries, mask, Scores(0.4))

    for row, length in enumerate(lengths):
        for query in range(sharing * n_new):
            position = length + query % n_new
            first = 0 if window is None else max(0, position - window + 1)
            seen = slice(first, position + 1)
            for head in range(heads):
                logits = 0.4 * keys[1, row, head, seen] @ queries[row, head, query]
                wanted = logits.softmax(0) @ values[1, row, head, seen]
                ours = part.output[row, head, query]
                assert (ours - wanted).abs().max() < 1e-12
                assert abs(part.lse[row, head, query] - logits.logsumexp(0)) < 1e-11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_for_longer_mates_leave_every_bit_alone(dtype: torch.dtype) -> None:
    shape = CacheShape(1, 3, 16, dtype, torch.device("cpu"))
    lengths = [5, 4, BLOCK - 1, 1]
    cache = SuffixCache(shape, 5, 3 * BLOCK)
    for kept_ in (cache.keys, cache.values):
        kept_[0].copy_(drawn(7, *kept_[0].shape))
    queries = drawn(8, 5, 3, 1, 16).to(dtype)

    def attended(all_lengths: list[int]) -> Any:
        n = len(all_lengths)
        mask = suffix_mask(torch.tensor(all_lengths), max(all_lengths), 1, (3, 1), None, dtype)
        return cache.attend(0, slice(0, n), queries[:n], mask, Scores(0.3))

    alone, beside = attended(lengths), attended([*lengths, 2 * BLOCK])
    assert torch.equal(beside.output[:4], alone.output)
    assert torch.equal(beside.lse[:4], alone.lse)
    longer = attended([6, *lengths[1:]])
    assert not torch.equal(longer.output[0], alone.output[0]), "control: one more token counts"
    assert torch.equal(longer.output[1:], alone.output[1:])


def test_sizes() -> None:
    assert [blocks_for(n) for n in (0, 1, BLOCK, BLOCK + 1, 2 * BLOCK)] == [1, 1, 1, 2, 2]
    assert SHAPE.bytes_per_token == 2 * 2 * 2 * 8 * 8
    cache = SuffixCache(SHAPE, 3, 10)
    held = sum(t.numel() * t.element_size() for t in (*cache.keys, *cache.values))
    assert held == 3 * BLOCK * SHAPE.bytes_per_token
    assert all(t.isfinite().all() for t in cache.keys), "what a mask hides must be a number"
