"""Linear layers with their weights laid out in advance for oneDNN, on a CPU in float32.

The product is the same, its rounding another, and at the row counts of a decode step it is up to
twice as fast, with bits that do not depend on the number of rows (docs/decisions/0008). Packed
weights stand beside the original ones, so only models that are small for the machine get them; that
depends on the machine alone, so that a resumed run does as the first one did.
"""

import os
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoctl.engine.memory import container_limit

MEMORY_SHARE = 0.25
"""Of the machine's memory, for the packed weights of all workers that there could be by default."""

MOST_WORKERS = 4
PACKED_FOR_ROWS = 32


class PackedLinears:
    """Packed weights, made once and used by any number of twins of a module."""

    def __init__(self, module: Any) -> None:
        """Pack every linear layer of `module`, or none."""
        self._packed: dict[int, Tensor] = {}
        if can_pack(module):
            for linear in _linears(module):
                weight = linear.weight
                if id(weight) not in self._packed:
                    packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR_ROWS)
                    self._packed[id(weight)] = packed

    @property
    def in_use(self) -> bool:
        """Whether there are any."""
        return bool(self._packed)

    def install(self, twin: Any) -> Any:
        """Let a twin's linear layers compute with the packed weights; gives the twin."""
        for linear in _linears(twin) if self.in_use else ():
            linear.forward = _forward(self._packed[id(linear.weight)], linear.bias)
        return twin


def can_pack(module: Any) -> bool:
    """Whether this machine has the kernels, and memory for the weights a second time."""
    first = next(module.parameters())
    if first.device.type != "cpu" or first.dtype != torch.float32:
        return False
    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return False
    weights = {id(linear.weight): linear.weight for linear in _linears(module)}
    n_bytes = sum(weight.numel() * weight.element_size() for weight in weights.values())
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    return n_bytes * workers <= MEMORY_SHARE * _total_memory()


def _linears(module: Any) -> list[Any]:
    return [part for part in module.modules() if type(part) is nn.Linear]


def _forward(packed: Tensor, bias: Tensor | None) -> Any:
    def forward(inputs: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        flat = inputs.reshape(-1, inputs.shape[-1])
        product = torch.ops.mkldnn._linear_pointwise(flat, packed, bias, "none", [], "")
        return product.view(*inputs.shape[:-1], -1)

    return forward


def _total_memory() -> int:
    """The machine's, or the container's where it may use less."""
    import psutil

    total = int(psutil.virtual_memory().total)
    return min(total, container_limit() or total)
