"""Steering of many rows at once: a table of vectors, and for every layer and slot an index into
it and a coefficient, all at fixed addresses.

A change of condition changes numbers, not code or memory, so any number of conditions costs the
same, and a captured graph stays valid. Every token that a slot is given is steered: what is not
steered lies in the prefix. What was really added is measured in every pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoctl.engine.steering import Steering


class SteeringBank:
    """The conditions of some rollouts, and which slot is under which."""

    def __init__(
        self, steerings: Sequence[Steering], slots: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        distinct = {id(s): s for s in steerings}
        self._index_of = {key: i + 1 for i, key in enumerate(distinct)}
        self.layers = tuple(sorted({s.layer for s in distinct.values() if not s.is_zero}))
        added = [s.added.to(device, dtype) for s in distinct.values()]
        self.vectors: Float[Tensor, "vectors d_model"] = torch.stack(
            [torch.zeros_like(added[0]), *added]
        )
        size = (len(self.layers), slots)
        self.index = torch.zeros(size, dtype=torch.int64, device=device)
        self.coefficient = torch.zeros(size, dtype=dtype, device=device)
        self._norms: list[Float[Tensor, "rows pos"]] = []

    def put(self, slot: int, steering: Steering | None) -> None:
        """Let a slot be under a condition from now on; None frees it."""
        self.index[:, slot] = 0
        self.coefficient[:, slot] = 0
        if steering is not None and not steering.is_zero:
            layer = self.layers.index(steering.layer)
            self.index[layer, slot] = self._index_of[id(steering)]
            self.coefficient[layer, slot] = 1

    def move(self, source: int, target: int) -> None:
        """Let one slot be under the condition of another."""
        self.index[:, target] = self.index[:, source]
        self.coefficient[:, target] = self.coefficient[:, source]

    @contextmanager
    def applied_to(self, blocks: Sequence[nn.Module], slots: slice) -> Iterator[None]:
        """Steer the forward passes inside the block, whose rows are these slots."""
        handles = [
            blocks[layer].register_forward_hook(self._hook(i, slots))
            for i, layer in enumerate(self.layers)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def take_norms(self) -> Float[Tensor, "rows pos"] | None:
        """L2 norms of what the last pass added to each row, summed over layers, of which a row
        is steered at one; None where no slot can be steered."""
        norms, self._norms = self._norms, []
        return torch.stack(norms).sum(0) if norms else None

    def _hook(self, number: int, slots: slice) -> Any:
        def add(_module: nn.Module, _inputs: Any, resid: Tensor) -> Tensor:
            index, coefficient = self.index[number, slots], self.coefficient[number, slots]
            added = self.vectors[index] * coefficient[:, None]
            steered = resid + added[:, None, :]
            self._norms.append(torch.linalg.vector_norm(steered - resid, dim=-1))
            return steered

        return add
