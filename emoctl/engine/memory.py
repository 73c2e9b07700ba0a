"""How much memory rollouts will take, told before it is taken; fewer rows where it is too much.

    prefix copies:  tokens × bytes a token × (1 + conditions × share of layers above the steered)
    suffixes:       slots × tokens × bytes a token
    the larger of   prefill: prompt tokens × widths of a block's products, logits of attention
                    a step:  slots × vocabulary, a few times over

Weights are in memory already. The figures are of tensors, not of what an allocator rounds up to,
so a tenth of what is free is left alone. Turns after the first, and several prompts in one call,
are not foreseen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.slots import MIN_ROWS
from emoctl.engine.suffix import BLOCK, CacheShape, blocks_for
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel

SPARE = 0.1
DRAWN_ROW_BY_ROW = 16
"""Bytes a logit: the logits, what gathers them, and single rows of noise."""

DRAWN_TOGETHER = 64
"""Bytes a logit where all rows are drawn in double precision: on a GPU, or from a nucleus."""

SCORE_COPIES = 3
"""Attention logits where they are written out: raw, masked, as probabilities."""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class ModelSize:
    """A model, as far as its memory goes."""

    cache: CacheShape
    d_model: int
    d_mlp: int
    n_heads: int
    d_vocab: int
    writes_scores: bool
    """Whether the prefill writes out the attention logits of a layer."""


def size_of(model: LoadedModel, cache: CacheShape) -> ModelSize:
    """From its config."""
    config: Any = model.module.config.get_text_config()
    return ModelSize(
        cache=cache,
        d_model=model.d_model,
        d_mlp=getattr(config, "intermediate_size", None) or 4 * model.d_model,
        n_heads=int(config.num_attention_heads),
        d_vocab=int(config.vocab_size),
        writes_scores=config._attn_implementation == "eager",
    )


@dataclass(frozen=True)
class MemoryPlan:
    """What some rollouts take, at a number of rows."""

    rows: int
    suffix_tokens: int
    """For which each slot has room."""

    prefix_bytes: int
    """A plain prefix and its residual streams, and one steered copy of the longest prompt for
    every condition that can be live at once."""

    suffix_bytes: int
    work_bytes: int
    """At its greatest."""

    @property
    def n_bytes(self) -> int:
        """All of it."""
        return self.prefix_bytes + self.suffix_bytes + self.work_bytes


PlanAt = Callable[[int], MemoryPlan]
"""Rows → what they take."""


def plan_memory(
    requests: Sequence[RolloutRequest], params: SamplingParams, size: ModelSize, rows: int
) -> MemoryPlan:
    """What these rollouts take with `rows` slots, in one turn each."""
    cache = size.cache
    prefix = max(r.response_start for r in requests)
    tail = max(len(r.prompt) - r.response_start + 1 for r in requests)
    own_layers = {
        (r.prompt, r.steering): cache.n_layers - 1 - r.steering.layer
        for r in requests
        if r.steering.everywhere and not r.steering.is_zero
    }
    layer_bytes = prefix * cache.bytes_per_token // cache.n_layers
    resid_bytes = prefix * size.d_model * cache.dtype.itemsize
    heaviest = sorted(own_layers.values(), reverse=True)[:rows]
    kept_resid = len({r.steering.layer for r in requests}) * resid_bytes
    slots = max(MIN_ROWS, min(rows, len(requests)))
    tokens = blocks_for(tail + params.max_new_tokens) * BLOCK
    return MemoryPlan(
        rows=rows,
        suffix_tokens=tokens,
        prefix_bytes=layer_bytes * (cache.n_layers + sum(heaviest)) + kept_resid,
        suffix_bytes=slots * tokens * cache.bytes_per_token,
        work_bytes=max(_prefill_bytes(size, prefix), _step_bytes(size, slots, params)),
    )


def _prefill_bytes(size: ModelSize, n_tokens: int) -> int:
    """One block at a time: its residual stream and products, and scores where they are written."""
    wide = n_tokens * (4 * size.d_model + 3 * size.d_mlp) * size.cache.dtype.itemsize
    scores = SCORE_COPIES * 4 * size.n_heads * n_tokens**2 if size.writes_scores else 0
    return wide + scores


def _step_bytes(size: ModelSize, slots: int, params: SamplingParams) -> int:
    cache = size.cache
    by_row = cache.device.type == "cpu" and cache.dtype == torch.float32 and params.top_p == 1
    return slots * size.d_vocab * (DRAWN_ROW_BY_ROW if by_row else DRAWN_TOGETHER)


def fit(plan_at: PlanAt, rows: int, available: int) -> MemoryPlan:
    """The plan with the most rows, `rows` or fewer, that fits.

    Raises:
        ModelError: not even MIN_ROWS fit.
    """
    room = int(available * (1 - SPARE))
    while True:
        plan = plan_at(rows)
        if plan.n_bytes <= room:
            return plan
        if rows <= MIN_ROWS:
            raise ModelError(
                f"{MIN_ROWS} rows need {_gib(plan.n_bytes)}, and {_gib(room)} are free",
                hint="lower sampling.max_new_tokens or engine.workers, or shorten the prompt",
            )
        rows = max(MIN_ROWS, rows // 2)


def available_bytes(device: torch.device, share: float = 1.0) -> int:
    """What is left where the model is, for this process, which gets a `share` of it: on a CPU,
    the machine's and that of the container that we may be in."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((torch.cuda.mem_get_info(device)[0] + kept) * share)
    import psutil

    free = int(psutil.virtual_memory().available)
    limit, used = container_limit(), _number(CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + _idle_file_bytes())
    return int(free * share)


def container_limit() -> int | None:
    """Bytes that the container may use; None outside one, or where it has no limit."""
    return _number(CGROUP / "memory.max")


def _idle_file_bytes() -> int:
    """Files that are kept in memory as long as nobody needs it; they count as used."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    found = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(found.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"
