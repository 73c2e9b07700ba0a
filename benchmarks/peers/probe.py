"""Not a peer but a probe: how fast this process multiplies and reads while its mates do the same.

It pushes as many rows as the job has through every linear layer of the real model, one after the
other, so that weights come from memory as in a decode step; and reads an array larger than caches.
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import load_module
from benchmarks.serving import serve, versions_of

PASSES = 8
ARRAY_BYTES = 1 << 29


def run(module: Any, job: Job) -> Outcome:
    """Figures `linear_seconds`, `prepacked_seconds` (all layers once) and `gigabyte_seconds`."""
    import torch
    from torch.nn import functional

    rows = job.rows * len(job.conditions)
    weights = [m.weight for m in module.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {w.shape[1]: torch.randn(rows, w.shape[1]) for w in weights}
    array = torch.ones(ARRAY_BYTES // 4)
    begun = time.perf_counter()
    with torch.inference_mode():
        linear = _median(lambda: [functional.linear(inputs[w.shape[1]], w) for w in weights])
        packed = _prepacked(weights, inputs)
        read = _median(lambda: array.sum())
    return Outcome(
        total_seconds=time.perf_counter() - begun,
        versions=versions_of("torch"),
        figures={
            "linear_seconds": linear,
            "prepacked_seconds": packed,
            "gigabyte_seconds": read * 1e9 / ARRAY_BYTES,
        },
    )


def _prepacked(weights: list[Any], inputs: dict[int, Any]) -> float:
    """The same through oneDNN, with weights in its own order; infinite where torch lacks it."""
    import torch

    operators = torch.ops.mkldnn
    if not hasattr(operators, "_linear_pointwise"):
        return float("inf")
    rows = next(iter(inputs.values())).shape[0]
    packed = [(w.shape[1], operators._reorder_linear_weight(w, rows)) for w in weights]
    return _median(
        lambda: [
            operators._linear_pointwise(inputs[width], weight, None, "none", [], "")
            for width, weight in packed
        ]
    )


def _median(action: Callable[[], object]) -> float:
    import statistics

    action()
    seconds = []
    for _ in range(PASSES):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


if __name__ == "__main__":
    serve(load_module, run)
