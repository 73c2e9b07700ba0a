"""Reading by forward hooks: the slow and obvious way, for any module and any batch.

A hook sees what the hooks before it returned, so readings inside a steering context, entered after
it, are of the steered stream.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoctl.engine.readings import Probe, Readings


class PassReadings:
    """What was read of one forward pass, once it is over."""

    def __init__(self, probe: Probe | None) -> None:
        self._probe = probe
        self._by_layer: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, layer: int, resid: Float[Tensor, "rows pos d_model"]) -> None:
        """Read one layer's output."""
        assert self._probe is not None, "a pass without a probe has no hooks"
        self._by_layer[layer] = self._probe.read(resid, layer)

    def of_row(self, row: int, start: int = 0) -> list[Readings]:
        """One row's tokens of this pass, from the `start`-th on, as one part; none without a
        probe."""
        rows = self.by_row()
        return (
            [replace(rows[row], cosines=rows[row].cosines[start:], norms=rows[row].norms[start:])]
            if rows
            else []
        )

    def by_row(self) -> list[Readings]:
        """Every row's tokens of this pass, a part each; empty without a probe."""
        if self._probe is None:
            return []
        read = [self._by_layer[layer] for layer in self._probe.layers]
        cosines = torch.stack([c for c, _ in read], dim=2).cpu().numpy().astype(np.float16)
        norms = torch.stack([n for _, n in read], dim=2).cpu().numpy().astype(np.float32)
        return [Readings(0, c, n) for c, n in zip(cosines, norms, strict=True)]


@contextmanager
def reading(probe: Probe | None, blocks: Sequence[nn.Module]) -> Iterator[PassReadings]:
    """Read the one forward pass inside the block; nothing is hooked without a probe."""
    seen = PassReadings(probe)

    def hook_of(layer: int) -> Any:
        def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.add(layer, output[0] if isinstance(output, tuple) else output)

        return read

    layers = probe.layers if probe else ()
    handles = [blocks[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
