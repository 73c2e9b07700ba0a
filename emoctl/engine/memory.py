"""How much memory rollouts will take, told before it is taken; fewer rows where it is too much.

    prefix copies:  tokens × bytes a token × (1 + conditions × share of layers above the steered)
    suffixes:       slots × tokens × bytes a token
    one step:       slots × vocabulary, a few times over

Weights are in memory already. The figures are of tensors, not of what an allocator rounds up to,
so a tenth of what is free is left alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from emoctl.engine.rollout import RolloutRequest
from emoctl.engine.slots import MIN_ROWS
from emoctl.engine.suffix import BLOCK, CacheShape, blocks_for
from emoctl.errors import ModelError

SPARE = 0.1
LOGITS_COPIES = 4
"""Logits, their noise, and what drawing makes of both, in single precision."""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryPlan:
    """What some rollouts take, at a number of rows."""

    rows: int
    prefix_bytes: int
    """A plain prefix and its residual streams, and one steered copy of the longest prompt for
    every condition that can be live at once."""

    suffix_bytes: int
    step_bytes: int

    @property
    def n_bytes(self) -> int:
        """All of it."""
        return self.prefix_bytes + self.suffix_bytes + self.step_bytes


PlanAt = Callable[[int], MemoryPlan]
"""Rows → what they take."""


def plan_memory(
    requests: Sequence[RolloutRequest],
    new_tokens: int,
    shape: CacheShape,
    d_model: int,
    d_vocab: int,
    rows: int,
) -> MemoryPlan:
    """What these rollouts take with `rows` slots, each row writing up to `new_tokens` tokens."""
    prefix = max(r.response_start for r in requests)
    tail = max(len(r.prompt) - r.response_start + 1 for r in requests)
    own_layers = {
        (r.prompt, id(r.steering)): shape.n_layers - 1 - r.steering.layer
        for r in requests
        if r.steering.everywhere and not r.steering.is_zero
    }
    layer_bytes = prefix * shape.bytes_per_token // shape.n_layers
    resid_bytes = prefix * d_model * shape.dtype.itemsize
    heaviest = sorted(own_layers.values(), reverse=True)[:rows]
    kept_resid = len({r.steering.layer for r in requests}) * resid_bytes
    slots = max(MIN_ROWS, min(rows, len(requests)))
    tokens = blocks_for(tail + new_tokens) * BLOCK
    return MemoryPlan(
        rows=rows,
        prefix_bytes=layer_bytes * (shape.n_layers + sum(heaviest)) + kept_resid,
        suffix_bytes=slots * tokens * shape.bytes_per_token,
        step_bytes=LOGITS_COPIES * 4 * slots * d_vocab,
    )


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
        return int(torch.cuda.mem_get_info(device)[0] * share)
    import psutil

    free = int(psutil.virtual_memory().available)
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used)
    return int(free * share)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"
