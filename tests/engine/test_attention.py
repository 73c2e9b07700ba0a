"""Attention in parts equals one softmax over everything, written out in float64."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from emoctl.engine.attention import Part, Scores, attend, grouped, merge, with_sink

LOWEST = torch.finfo(torch.float64).min
SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "heads": st.integers(1, 3),
        "queries": st.integers(1, 5),
        "keys": st.lists(st.integers(1, 70), min_size=1, max_size=4),
        "d_head": st.sampled_from([8, 16, 24]),
        "softcap": st.sampled_from([None, 2.5]),
        "scale": st.floats(0.05, 3),
        "seed": st.integers(0, 10**6),
    }
)
quick = settings(max_examples=30, deadline=None)


def drawn(seed: int, *size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)


def slowly(
    queries: Tensor, keys: Tensor, values: Tensor, scores: Scores, hidden: Tensor | None = None
) -> Part:
    """One query at a time, one key at a time."""
    output = torch.zeros(*queries.shape[:-1], values.shape[-1], dtype=torch.float64)
    lse = torch.zeros(queries.shape[:-1], dtype=torch.float64)
    for b, h, q in torch.cartesian_prod(*(torch.arange(n) for n in queries.shape[:3])).tolist():
        logits = []
        for k in range(keys.shape[2]):
            logit = float(queries[b, h, q] @ keys[b, h, k]) * scores.scale
            if scores.softcap is not None:
                logit = scores.softcap * math.tanh(logit / scores.softcap)
            if hidden is None or not hidden[b, h, q, k]:
                logits.append((logit, k))
        total = math.fsum(math.exp(logit) for logit, _ in logits)
        lse[b, h, q] = math.log(total)
        for logit, k in logits:
            output[b, h, q] += math.exp(logit) / total * values[b, h, k]
    return Part(output, lse)


def same(one: Part, other: Part) -> bool:
    return torch.allclose(one.output, other.output, rtol=0, atol=1e-12) and torch.allclose(
        one.lse, other.lse, rtol=0, atol=1e-11
    )


def made(shape: dict[str, Any], dtype: torch.dtype = torch.float64) -> Any:
    b, h, q, d = (shape[key] for key in ("batch", "heads", "queries", "d_head"))
    n, seed = sum(shape["keys"]), shape["seed"]
    return (
        drawn(seed, b, h, q, d, dtype=dtype),
        drawn(seed + 1, b, h, n, d, dtype=dtype),
        drawn(seed + 2, b, h, n, d, dtype=dtype),
        Scores(shape["scale"], shape["softcap"]),
    )


@quick
@given(SHAPES)
def test_parts_merge_to_the_softmax_over_their_union(shape: dict[str, Any]) -> None:
    queries, keys, values, scores = made(shape)
    parts = [
        attend(queries, k, v, scores)
        for k, v in zip(keys.split(shape["keys"], 2), values.split(shape["keys"], 2), strict=True)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge(merged, part)
    wanted = slowly(queries, keys, values, scores)
    assert same(merged, wanted)
    if len(parts) > 1:
        assert not same(parts[0], wanted), "control: a part is not the whole"
        backwards = parts[-1]
        for part in parts[-2::-1]:
            backwards = merge(backwards, part)
        assert same(backwards, merged), "in whatever order"


@quick
@given(SHAPES)
def test_a_mask_hides(shape: dict[str, Any]) -> None:
    queries, keys, values, scores = made(shape)
    hidden = drawn(shape["seed"] + 3, *queries.shape[:3], keys.shape[2]) > 0.3
    hidden[..., 0] = False
    mask = torch.zeros_like(hidden, dtype=torch.float64).masked_fill(hidden, LOWEST)
    part = attend(queries, keys, values, scores, mask)
    assert same(part, slowly(queries, keys, values, scores, hidden))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@quick
@given(shape=SHAPES)
def test_a_hidden_part_leaves_every_bit_alone(dtype: torch.dtype, shape: dict[str, Any]) -> None:
    queries, keys, values, scores = made(shape, dtype)
    mask = torch.full((1, 1, 1, keys.shape[2]), torch.finfo(dtype).min, dtype=dtype)
    seen = attend(queries, keys, values, scores)
    unseen = attend(queries, 9 * keys, 1e3 * values, scores, mask)
    for merged in (merge(seen, unseen), merge(unseen, seen)):
        assert torch.equal(merged.output, seen.output)
        assert torch.equal(merged.lse, seen.lse.to(merged.lse.dtype))
    both = merge(unseen, merge(unseen, seen))
    assert torch.equal(both.output, seen.output), "however often"
    other = merge(seen, attend(queries, 9 * keys, 1e3 * values, scores))
    assert not torch.equal(other.output, seen.output), "control: a seen one has weight"


@quick
@given(SHAPES)
def test_a_sink_is_one_more_column_that_gives_nothing(shape: dict[str, Any]) -> None:
    queries, keys, values, scores = made(shape)
    sink = drawn(shape["seed"] + 4, *queries.shape[1:3])
    logits = queries @ keys.transpose(-1, -2) * scores.scale
    if scores.softcap is not None:
        logits = scores.softcap * (logits / scores.softcap).tanh()
    column = sink.expand(len(queries), -1, -1)[..., None]
    weights = torch.cat([logits, column], -1).softmax(-1)[..., :-1]

    part = attend(queries, keys, values, scores)
    sunk = with_sink(part, sink)

    assert torch.allclose(sunk.output, weights @ values, rtol=0, atol=1e-12)
    assert torch.allclose(sunk.lse, torch.cat([logits, column], -1).logsumexp(-1), atol=1e-11)
    assert with_sink(part, sink + 500).output.abs().max() < 1e-30, "control: it can take it all"


@quick
@given(SHAPES, st.integers(1, 4))
def test_query_heads_stand_beside_those_that_share_their_keys(
    shape: dict[str, Any], sharing: int
) -> None:
    """As transformers repeats a head of keys for each query head that shares it."""
    b, h, n, d = (shape[key] for key in ("batch", "heads", "queries", "d_head"))
    _, keys, values, scores = made(shape)
    queries = drawn(shape["seed"], b, h * sharing, n, d)
    ours = attend(grouped(queries, h), keys, values, scores)
    repeated = attend(
        queries, keys.repeat_interleave(sharing, 1), values.repeat_interleave(sharing, 1), scores
    )
    assert torch.equal(ours.output.reshape(queries.shape), repeated.output) or torch.allclose(
        ours.output.reshape(queries.shape), repeated.output, atol=1e-12
    )


@pytest.mark.parametrize("n", [1, 31, 64, 65, 200])
def test_bits_of_a_merge_do_not_depend_on_where_a_row_stands(n: int) -> None:
    """A merge of many rows gives each the bits that it gets alone."""
    first, second = (
        Part(drawn(s, n, 3, 1, 8, dtype=torch.float32), drawn(s + 1, n, 3, 1, dtype=torch.float32))
        for s in (1, 3)
    )
    together = merge(first, second)
    sunk = with_sink(first, drawn(5, 3, 1, dtype=torch.float32))
    for row in range(n):
        one, other = (Part(p.output[row : row + 1], p.lse[row : row + 1]) for p in (first, second))
        alone = merge(one, other)
        assert torch.equal(alone.output[0], together.output[row])
        assert torch.equal(alone.lse[0], together.lse[row])
        alone = with_sink(one, drawn(5, 3, 1, dtype=torch.float32))
        assert torch.equal(alone.output[0], sunk.output[row])
