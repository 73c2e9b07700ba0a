"""Figures of the extraction benchmark: rates, shares, medians and ratios, and their table.

It runs nothing and needs no torch.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WAYS = ("emoctl", "transformer-lens", "transformers")
TARGET_TOKENS = 290_000
"""171 emotions, ten stories each."""


@dataclass(frozen=True)
class Measured:
    """One way, once."""

    way: str
    layers: str
    threads: int
    n_tokens: int
    wall_seconds: float
    cpu_seconds: float
    gemm_wall: float
    """Matrix products over the layers that were needed, in GFLOP per wall second."""

    gemm_cpu: float
    """The same, per processor second."""

    gflop: float
    """In matrix products with weights, over the layers that were needed."""

    peak_rss_gb: float
    load_average: float
    norms: tuple[float, ...]
    """Mean norm of the means at each layer read: what the ways must agree on."""

    @property
    def tokens_per_second(self) -> float:
        """Of wall time."""
        return self.n_tokens / self.wall_seconds

    @property
    def share_wall(self) -> float:
        """Of the matrix product rate of the same process, in wall time."""
        return self.gflop / self.wall_seconds / self.gemm_wall

    @property
    def share_cpu(self) -> float:
        """The same in processor time."""
        return self.gflop / self.cpu_seconds / self.gemm_cpu


def check_agreement(measured: Sequence[Measured]) -> None:
    """Refuse figures of ways that did not compute the same means.

    Raises:
        ValueError: norms at some layer differ by more than 1e-4.
    """
    first = measured[0]
    for other in measured[1:]:
        for layer, (a, b) in enumerate(zip(first.norms, other.norms, strict=False)):
            if abs(a - b) > 1e-4 * abs(a):
                raise ValueError(f"{other.way} has norm {b} at place {layer}, {first.way} has {a}")


def summarise(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """One line for each way and choice of layers: medians, and the ratio to emoctl's speed."""
    rows: list[dict[str, Any]] = []
    for layers in dict.fromkeys(m.layers for m in measured):
        here = [m for m in measured if m.layers == layers]
        groups: dict[tuple[str, int], list[Measured]] = {}
        for m in here:
            groups.setdefault((m.way, m.threads), []).append(m)
        by_way = sorted(groups, key=lambda key: (WAYS.index(key[0]), key[1]))
        base = _speeds(groups[by_way[0]])
        for key in by_way:
            wall, cpu = _speeds(groups[key])
            rows.append(
                {
                    "way": key[0],
                    "threads": key[1],
                    "layers": layers,
                    "tokens_per_second": wall,
                    "tokens_per_cpu_second": cpu,
                    "emoctl_is_faster": base[0] / wall,
                    "emoctl_is_faster_cpu": base[1] / cpu,
                    "share_of_gemm": statistics.median(m.share_wall for m in groups[key]),
                    "share_of_gemm_cpu": statistics.median(m.share_cpu for m in groups[key]),
                    "peak_rss_gb": max(m.peak_rss_gb for m in groups[key]),
                    "seconds_for_290k_tokens": TARGET_TOKENS / wall,
                }
            )
    return rows


def _speeds(group: Sequence[Measured]) -> tuple[float, float]:
    """Median tokens per wall and per processor second."""
    wall = statistics.median(m.tokens_per_second for m in group)
    return wall, statistics.median(m.n_tokens / m.cpu_seconds for m in group)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Fixed-width lines."""
    head = (
        f"{'way':17} {'thr':>3} {'layers':6} {'tok/s':>6} {'tok/cpu-s':>9} "
        f"{'ours ×':>6} {'cpu ×':>6} {'of GEMM':>7} {'cpu':>5} {'GB':>5} {'290k':>6}"
    )
    lines = [
        f"{r['way']:17} {r['threads']:3} {r['layers']:6} {r['tokens_per_second']:6.0f} "
        f"{r['tokens_per_cpu_second']:9.0f} {r['emoctl_is_faster']:6.2f} "
        f"{r['emoctl_is_faster_cpu']:6.2f} {r['share_of_gemm']:7.2f} "
        f"{r['share_of_gemm_cpu']:5.2f} {r['peak_rss_gb']:5.2f} "
        f"{r['seconds_for_290k_tokens']:5.0f}s"
        for r in rows
    ]
    return "\n".join([head, *lines])
