"""Attention in parts: each part returns its output and its log-sum-exp, and parts merge exactly.

    softmax over (prefix ∪ suffix)  =  merge(softmax over prefix, softmax over suffix)

This is arithmetic over queries, keys and values. It knows no model, no cache and no row.

Sources: the merge is equation 2 of Hydragen (arXiv 2402.05099); the kernels are PyTorch's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LANES = 64
"""How many numbers an elementwise kernel of a CPU takes at a time divides this."""


@dataclass(frozen=True)
class Scores:
    """How a layer turns query · key into attention logits."""

    scale: float
    softcap: float | None = None
    """Logits are softcap × tanh(logit / softcap), before any mask."""


@dataclass(frozen=True, eq=False)
class Part:
    """What some queries read from some of their keys."""

    output: Float[Tensor, "batch heads queries d_head"]
    lse: Float[Tensor, "batch heads queries"]
    """At least in float32. Log of the sum of exponentiated logits; about the dtype's lowest number
    where a mask hides every key, and then the output has no weight in a merge."""


def attend(
    queries: Float[Tensor, "batch heads queries d_head"],
    keys: Float[Tensor, "batch heads keys d_head"],
    values: Float[Tensor, "batch heads keys d_head"],
    scores: Scores,
    mask: Float[Tensor, "#batch #heads #queries keys"] | None = None,
) -> Part:
    """Every query over every key; `mask` is added to the logits, the dtype's lowest number to hide.

    A head is a head of keys: the query heads that share it stand side by side as queries.
    """
    if scores.softcap is None and queries.device.type == "cpu":
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            queries, keys, values, 0.0, False, attn_mask=mask, scale=scores.scale
        )
        return Part(output, lse)
    if scores.softcap is None and mask is None and queries.dtype in (torch.float16, torch.bfloat16):
        output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            queries, keys, values, 0.0, False, scale=scores.scale
        )
        return Part(output, lse)
    return _attend_plainly(queries, keys, values, scores, mask)


def _attend_plainly(
    queries: Float[Tensor, "batch heads queries d_head"],
    keys: Float[Tensor, "batch heads keys d_head"],
    values: Float[Tensor, "batch heads keys d_head"],
    scores: Scores,
    mask: Float[Tensor, "#batch #heads #queries keys"] | None,
) -> Part:
    """The same with the logits written out, for what no kernel covers."""
    logits = (queries @ keys.transpose(-1, -2)) * scores.scale
    if scores.softcap is not None:
        logits = torch.tanh(logits / scores.softcap) * scores.softcap
    if logits.dtype != torch.float64:
        logits = logits.float()  # before the mask: half precision has no number low enough
    if mask is not None:
        logits = logits + mask
    lse = logits.logsumexp(-1)
    weights = (logits - lse[..., None]).exp().to(values.dtype)
    return Part(weights @ values, lse)


def merge(first: Part, second: Part) -> Part:
    """Both parts as one. A part of no weight leaves the other's bits alone."""
    weight = _share(second.lse, first.lse)[..., None].to(first.output.dtype)
    return Part(torch.lerp(first.output, second.output, weight), _log_of_sum(first.lse, second.lse))


def with_sink(part: Part, sink: Float[Tensor, " heads queries"]) -> Part:
    """A part after a logit that takes weight and gives nothing: an attention sink."""
    sinks = sink.expand_as(part.lse)
    weight = _share(part.lse, sinks)[..., None].to(part.output.dtype)
    return Part(part.output * weight, _log_of_sum(part.lse, sinks))


def _share(own: Float[Tensor, "*lses"], other: Float[Tensor, "*lses"]) -> Float[Tensor, "*lses"]:
    """exp(own) as a share of exp(own) + exp(other)."""
    return _in_whole_lanes(torch.sigmoid, own - other)


def _log_of_sum(
    first: Float[Tensor, "*lses"], second: Float[Tensor, "*lses"]
) -> Float[Tensor, "*lses"]:
    return _in_whole_lanes(torch.logaddexp, first, second)


def _in_whole_lanes(
    function: Callable[..., Tensor], *numbers: Float[Tensor, "*numbers"]
) -> Float[Tensor, "*numbers"]:
    """An elementwise function, with bits that do not depend on where a number stands: a CPU takes
    several at a time, and what is left over by another path, which rounds otherwise."""
    n = numbers[0].numel()
    padded = [torch.nn.functional.pad(x.flatten(), (0, -n % LANES)) for x in numbers]
    return function(*padded)[:n].view_as(numbers[0])


def grouped(
    queries: Float[Tensor, "rows q_heads pos d_head"], kv_heads: int
) -> Float[Tensor, "rows kv_heads queries d_head"]:
    """Query heads that share a head of keys, folded beside the positions as its queries."""
    rows, q_heads, n, d_head = queries.shape
    return queries.reshape(rows, kv_heads, q_heads // kv_heads * n, d_head)
