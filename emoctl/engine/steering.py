"""Steering: adding a vector to the residual stream while the model runs, and proving it.

One batch may mix conditions. What is added is therefore a table with one row per sequence for
each steered layer, where a row of zeros is an unsteered sequence; positions are absolute, counted
from the start of the sequence, so that a decode step, which sees one position, finds its own.
Every addition is measured where it happens.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from emoctl.errors import SteeringError


@dataclass(frozen=True, eq=False)
class Steering:
    """What is added to one sequence."""

    layer: int
    """0-based; the addition is to this layer's resid_post."""

    added: Float[Tensor, " d_model"]
    """coefficient × direction, in the units of the residual stream; zeros add nothing."""

    everywhere: bool
    """True: every position. False: from the last prompt token on, whose logits choose the first
    token of the response."""

    def steer_from(self, response_start: int) -> int:
        """The first steered position of a sequence whose response begins at `response_start`."""
        return 0 if self.everywhere else response_start - 1

    @property
    def is_zero(self) -> bool:
        """Whether nothing is added."""
        return not bool(self.added.any())


@dataclass(frozen=True)
class SteeringCount:
    """What was really added to one sequence, counted in the forward passes."""

    n_steered: int
    """Positions at which something was added."""

    mean_added_norm: float
    """Mean L2 norm of resid after minus resid before, over those positions; 0 for none."""


class SteeringTable:
    """The additions for one batch, applied by `applied_to`, counted per row.

    Rows may be re-ordered and dropped between forward passes by `keep`; the counts of a row that
    was dropped stay readable under its original index.
    """

    def __init__(
        self,
        rows: Sequence[Steering],
        response_start: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.layers = tuple(sorted({row.layer for row in rows}))
        added = torch.stack([row.added for row in rows]).to(device)
        layer = torch.tensor([row.layer for row in rows], device=device)
        self._added = {
            at: torch.where((layer == at)[:, None], added, 0.0).to(dtype) for at in self.layers
        }
        self._from = torch.tensor([r.steer_from(response_start) for r in rows], device=device)
        self._row = torch.arange(len(rows), device=device)
        self._n_steered = torch.zeros(len(rows), dtype=torch.int64, device=device)
        self._norm_sum = torch.zeros(len(rows), dtype=torch.float64, device=device)
        self._positions: Int[Tensor, "rows pos"] | None = None

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Let the batch consist of these of its present rows from now on; repeats are padding."""
        self._added = {layer: added[rows] for layer, added in self._added.items()}
        self._from = self._from[rows]
        self._row = self._row[rows]

    @contextmanager
    def applied_to(
        self, blocks: Sequence[nn.Module], positions: Int[Tensor, "rows pos"], n_real: int
    ) -> Iterator[None]:
        """Add to the residual stream of every forward pass inside the block.

        `positions` are the absolute positions of the tokens of that pass. Only the first `n_real`
        rows are counted; the others pad the batch.
        """
        handles = [
            blocks[layer].register_forward_hook(self._hook(layer, positions, n_real))
            for layer in self.layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def counts(self) -> list[SteeringCount]:
        """What was added so far, by original row."""
        pairs = zip(self._n_steered.tolist(), self._norm_sum.tolist(), strict=True)
        return [SteeringCount(n, total / n if n else 0.0) for n, total in pairs]

    def _hook(self, layer: int, positions: Int[Tensor, "rows pos"], n_real: int) -> Any:
        def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            resid = output[0] if isinstance(output, tuple) else output
            steered = add_steering(resid, self._added[layer], positions, self._from)
            self._count((steered - resid)[:n_real], layer, n_real)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return add

    def _count(
        self, difference: Float[Tensor, "rows pos d_model"], layer: int, n_real: int
    ) -> None:
        norms = difference.double().norm(dim=-1) * self._added[layer][:n_real].any(-1)[:, None]
        rows = self._row[:n_real]
        self._n_steered.index_add_(0, rows, (norms > 0).sum(-1))
        self._norm_sum.index_add_(0, rows, norms.sum(-1))


def add_steering(
    resid: Float[Tensor, "#rows pos d_model"],
    added: Float[Tensor, "rows d_model"],
    positions: Int[Tensor, "#rows pos"],
    steer_from: Int[Tensor, " rows"],
) -> Float[Tensor, "rows pos d_model"]:
    """`resid` plus each row's addition, from its position `steer_from` on; one row of `resid`
    becomes as many as are added.

    The input is left as it was: an edit in place would also change what other hooks recorded.
    """
    steered: Bool[Tensor, "rows pos"] = positions >= steer_from[:, None]
    return resid + steered[:, :, None].to(resid.dtype) * added[:, None, :]


def check_logprob(logprob: float, what: str) -> None:
    """Refuse a drawn token whose log-probability is not a number: then its row's logits were not.

    Raises:
        SteeringError: it is infinite or NaN.
    """
    if not math.isfinite(logprob):
        raise SteeringError(
            f"{what}: the model's logits are not finite numbers",
            hint="a strength too large for the dtype; lower steering.strengths, or model.dtype: "
            "float32",
        )


def check_count(steering: Steering, count: SteeringCount, expected: int, what: str) -> None:
    """Refuse a sequence that was not steered as its condition says.

    Raises:
        SteeringError: a non-zero condition met another number of positions than `expected`, or
            what was added has another length than the condition's.
    """
    if steering.is_zero:
        expected = 0
    if count.n_steered != expected:
        raise SteeringError(
            f"{what}: steered {count.n_steered} positions at layer {steering.layer}, "
            f"expected {expected}",
            hint="the hook did not fire as it should; nothing was recorded for this batch",
        )
    wanted = float(steering.added.double().norm())
    if expected and abs(count.mean_added_norm - wanted) > 0.05 * wanted:
        raise SteeringError(
            f"{what}: added {count.mean_added_norm:.4g} on average, expected {wanted:.4g}",
            hint="the residual stream's dtype may be too coarse for so small a strength",
        )
