"""Medians, ratios of medians with an interval, and what a short run says of a long one."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Ratio:
    """Median of one sample over the median of another."""

    value: float
    low: float | None
    """Ends of the percentile bootstrap interval; None where a sample is a single number."""

    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.2f}×"
        return f"{self.value:.2f}× ({self.low:.2f}–{self.high:.2f})"


def ratio(slower: Sequence[float], faster: Sequence[float], seed: int = 0) -> Ratio:
    """How many times as long the first takes as the second. The interval is 95 %, and takes the
    two samples as independent; with five repeats it is about their range."""
    value = statistics.median(slower) / statistics.median(faster)
    if len(slower) < 2 or len(faster) < 2:
        return Ratio(value, None, None)
    import numpy as np
    from scipy.stats import bootstrap

    def of_medians(a: object, b: object, axis: int = -1) -> object:
        return np.median(np.asarray(a), axis=axis) / np.median(np.asarray(b), axis=axis)

    found = bootstrap(
        (np.asarray(slower), np.asarray(faster)),
        of_medians,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return Ratio(value, float(interval.low), float(interval.high))


def extrapolated_seconds(
    prefill_seconds: float, step_seconds: float | None, new_tokens: int, times: float = 1.0
) -> float | None:
    """Wall time of `times` runs of `new_tokens` each: the prompt gives the first token, every other
    one takes a step as long as the median step seen. Caches grow, so that long runs of peers that
    copy them take a little longer than this. None without a step to go by."""
    if new_tokens == 1:
        return times * prefill_seconds
    if step_seconds is None:
        return None
    return times * (prefill_seconds + step_seconds * (new_tokens - 1))
