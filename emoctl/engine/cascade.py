"""Attention of many rows over prefixes that they share and suffixes of their own, inside
transformers' modules.

    queries of the rows that share a prefix ── one product with its keys ──┐
                                                                           ├─ merged by log-sum-exp
    every row's queries ── its own suffix blocks ──────────────────────────┘

A module of the engine's own (`cascade_module`, which shares the parameters) calls `cascade` through
transformers' AttentionInterface, and hands it new keys and values through a `Cache`. What the pass
at hand consists of is a `Pass`, a value that holds for one forward call. This file knows slots and
prefixes; it does not know what is steered, sampled or scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from emoctl.engine.attention import Part, Scores, attend, grouped, merge, with_sink
from emoctl.engine.prefix import Prefix
from emoctl.engine.suffix import Places, SuffixCache, suffix_mask
from emoctl.errors import ModelError
from emoctl.models.twin import twin_module

CASCADE = "emoctl_cascade"
QUERIES_MULTIPLE = 4
"""Queries of one product with a prefix are padded to a multiple of this: matrix kernels round
otherwise where one to three rows are left over (docs/decisions/0007)."""

HARMLESS = {
    "cache_position",
    "is_causal",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "position_ids",
    "use_cache",
}
"""Arguments of an attention function that change nothing here."""


@dataclass(frozen=True, eq=False)
class Group:
    """Rows that share one layer's prefix."""

    rows: Int[Tensor, " padded"]
    """Their places in the pass, the first repeated until the queries fill a multiple."""

    n: int
    keys: Float[Tensor, "1 kv_heads pos d_head"]
    values: Float[Tensor, "1 kv_heads pos d_head"]


Groups = Sequence[tuple[Group, ...]]
"""The rows that share each layer's prefix, by layer."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward call consists of."""

    suffix: SuffixCache
    slots: slice
    """Which slots the rows of the pass are, in order."""

    lengths: Int[Tensor, " rows"]
    """Suffix tokens of each row before the pass."""

    longest: int
    """The greatest of them, which the host knows without asking the device."""

    n_new: int
    """New tokens a row."""

    places: Places
    groups: Groups

    _masks: dict[Any, Tensor] = field(default_factory=dict)

    def suffix_mask(self, heads: tuple[int, int], window: int | None) -> Tensor:
        """Made once for all layers alike."""
        key = (heads, window)
        if key not in self._masks:
            self._masks[key] = suffix_mask(
                self.lengths, self.longest, self.n_new, heads, window, self.suffix.shape.dtype
            )
        return self._masks[key]

    def prefix_mask(
        self, group: Group, sharing: int, window: int
    ) -> Float[Tensor, "1 1 queries pos"]:
        """What the group's queries see of the last `window` tokens of their prefix."""
        key = (id(group.rows), group.keys.shape[2], sharing, window)
        if key not in self._masks:
            self._masks[key] = self._windowed(group, sharing, window)
        return self._masks[key]

    def _windowed(self, group: Group, sharing: int, window: int) -> Tensor:
        n_prefix = group.keys.shape[2]
        new = torch.arange(self.n_new, device=self.lengths.device)
        query = (n_prefix + self.lengths[group.rows])[:, None] + new
        query = query[:, None, :].expand(-1, sharing, -1).flatten()
        key = torch.arange(_window_start(n_prefix, window), n_prefix, device=query.device)
        dtype = self.suffix.shape.dtype
        mask = torch.zeros(len(query), len(key), dtype=dtype, device=query.device)
        mask.masked_fill_(query[:, None] - key >= window, torch.finfo(dtype).min)
        return mask[None, None]


_PASS: ContextVar[Pass] = ContextVar("the forward call at hand")


@contextmanager
def running(this: Pass) -> Iterator[None]:
    """Let attention inside the block be that of this pass."""
    token = _PASS.set(this)
    try:
        yield
    finally:
        _PASS.reset(token)


class NewKeys(Cache):
    """transformers' door to the suffixes: stores what is new, and hands it on."""

    def __init__(self, this: Pass) -> None:
        self.layers = []
        self.this = this

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write into the suffix blocks."""
        self.this.suffix.write(layer_idx, self.this.places, key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, *_: Any) -> int:
        """Unused where positions are given, as they are."""
        return 0


def cascade(
    module: nn.Module,
    query: Float[Tensor, "rows q_heads pos d_head"],
    key: Float[Tensor, "rows kv_heads pos d_head"],
    _value: Float[Tensor, "rows kv_heads pos d_head"],
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Float[Tensor, " q_heads"] | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "rows pos q_heads d_head"], None]:
    """What transformers calls in place of its own attention.

    Raises:
        ModelError: the architecture asks for something that is not served exactly here.
    """
    _refuse_unknown(module, attention_mask, dropout, others)
    _refuse_unsaid_window(module, sliding_window)
    this, layer = _PASS.get(), int(module.layer_idx)  # type: ignore[arg-type]
    rows, q_heads, n, d_head = query.shape
    heads = (key.shape[1], q_heads // key.shape[1])
    scores = Scores(scaling if scaling is not None else d_head**-0.5, softcap)
    queries = grouped(query, heads[0])
    mask = this.suffix_mask(heads, sliding_window)
    part = this.suffix.attend(layer, this.slots, queries, mask, scores)
    part = _with_prefixes(this, layer, queries, part, scores, heads[1], sliding_window)
    if s_aux is not None:
        part = with_sink(part, s_aux.view(heads).repeat_interleave(n, dim=1).to(part.lse))
    output = part.output.reshape(rows, q_heads, n, d_head)
    return output.transpose(1, 2), None


def _with_prefixes(
    this: Pass,
    layer: int,
    queries: Float[Tensor, "rows kv_heads queries d_head"],
    own: Part,
    scores: Scores,
    sharing: int,
    window: int | None,
) -> Part:
    """Every row's own part, merged with that over its prefix; a group of rows at a time."""
    if not any(this.groups):
        return own
    groups = this.groups[layer]
    whole = [_over_prefix(this, group, queries, scores, sharing, window) for group in groups]
    if len(groups) == 1 and groups[0].n == len(queries):
        return merge(whole[0], own)
    output = torch.zeros_like(own.output)  # a row without a prefix has none of its weight there
    lse = torch.full_like(own.lse, torch.finfo(own.lse.dtype).min)
    for group, part in zip(groups, whole, strict=True):
        rows = group.rows[: group.n]
        output[rows], lse[rows] = part.output, part.lse
    return merge(Part(output, lse), own)


def _over_prefix(
    this: Pass,
    group: Group,
    queries: Float[Tensor, "rows kv_heads queries d_head"],
    scores: Scores,
    sharing: int,
    window: int | None,
) -> Part:
    """The group's rows, as the queries of one product with the keys of their prefix."""
    _, heads, n, d_head = queries.shape
    keys, values, mask = group.keys, group.values, None
    if window is not None and _beyond(this, group, window):
        start = _window_start(keys.shape[2], window)
        keys, values = keys[:, :, start:], values[:, :, start:]
        mask = this.prefix_mask(group, sharing, window)
    folded = queries[group.rows].transpose(0, 1).reshape(1, heads, -1, d_head)
    part = attend(folded, keys, values, scores, mask)
    shape = (heads, len(group.rows), n)
    output = part.output.view(*shape, d_head)[:, : group.n].transpose(0, 1)
    return Part(output, part.lse.view(shape)[:, : group.n].transpose(0, 1))


def _window_start(n_prefix: int, window: int) -> int:
    """The first prefix token that the first token after the prefix still sees. One is always
    left, and hidden by the mask if it must be."""
    return max(0, n_prefix - max(window, 2) + 1)


def _beyond(this: Pass, group: Group, window: int) -> bool:
    """Whether any token that there is room for could be too far from the prefix's first."""
    return group.keys.shape[2] + this.suffix.n_tokens > window


def _refuse_unknown(
    module: nn.Module, mask: Any, dropout: float, others: Mapping[str, Any]
) -> None:
    unknown = [name for name, value in others.items() if value is not None and name not in HARMLESS]
    if mask is not None:
        unknown.append("attention_mask")
    if dropout:
        unknown.append("dropout")
    if unknown:
        raise ModelError(
            f"{type(module).__name__} asks its attention for {', '.join(sorted(unknown))}",
            hint="engine.kind: reference",
        )


def _refuse_unsaid_window(module: nn.Module, window: int | None) -> None:
    """Some modules have a window in their masks alone, of which there are none here."""
    config: Any = module.config
    kinds = getattr(config, "layer_types", None)
    has_window = (
        kinds[int(module.layer_idx)] == "sliding_attention"  # type: ignore[arg-type]
        if kinds
        else getattr(config, "sliding_window", None) is not None
    )
    if has_window and window is None:
        raise ModelError(
            f"{type(module).__name__} does not say its sliding window",
            hint="engine.kind: reference",
        )


def groups_of(prefixes: Sequence[Prefix], sharing: int, n_new: int, device: torch.device) -> Groups:
    """The rows that share each layer's keys, by layer; `sharing` query heads share one of keys.

    Rows of one prompt share every layer up to the lowest steered one; above it, the rows of one
    condition do.
    """
    known: dict[tuple[tuple[int, ...], ...], tuple[Tensor, ...]] = {}
    by_layer = []
    for layer in range(max(len(prefix.keys) for prefix in prefixes)):
        members: dict[int, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            if prefix.n_tokens:
                members.setdefault(id(prefix.keys[layer]), []).append(row)
        partition = tuple(tuple(rows) for rows in members.values())
        if partition not in known:
            known[partition] = tuple(
                torch.tensor(_padded(rows, sharing * n_new), device=device) for rows in partition
            )
        by_layer.append(
            tuple(
                Group(
                    index,
                    len(rows),
                    prefixes[rows[0]].keys[layer],
                    prefixes[rows[0]].values[layer],
                )
                for rows, index in zip(partition, known[partition], strict=True)
            )
        )
    return by_layer


def _padded(rows: Sequence[int], queries_a_row: int) -> list[int]:
    padded = list(rows)
    while len(padded) * queries_a_row % QUERIES_MULTIPLE:
        padded.append(rows[0])
    return padded


def cascade_module(module: Any) -> Any:
    """A module of the same parameters, the same tensors, whose attention is `cascade`."""
    AttentionInterface.register(CASCADE, cascade)
    ours = twin_module(module)
    ours.set_attn_implementation(CASCADE)
    return ours
