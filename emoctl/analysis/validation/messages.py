"""Short messages: do vectors read in them what their writer felt and did not say?

Cosines are centred per emotion over the messages, since some vectors lie near to everything. What
is tried is always the same: the right answer against the answer that chance would give.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from emoctl.analysis.intervals import wilson
from emoctl.analysis.validation.readers import ranks, resampled
from emoctl.vectors.validation.measurements import Array

N_SHUFFLES, SEED = 2000, 171


class Implicit(NamedTuple):
    """Messages whose emotion is to be named among those that occur."""

    table: pd.DataFrame
    """One row an emotion."""

    emotions: tuple[str, ...]
    confusion: Array
    """[writer's emotion, vector]: mean centred cosine of the messages."""

    summary: pd.DataFrame
    """One row a k: share of messages with their emotion among the k nearest, and chance."""


def implicit_ranks(cosines: Array, own: Sequence[str], emotions: Sequence[str]) -> Array:
    """Ranks among the emotions that occur. `cosines` is [messages, emotions] at one layer."""
    named = sorted(set(own))
    centred = _centred(cosines, named, emotions)
    return ranks(centred, np.array([named.index(e) for e in own]))


def implicit_messages(
    cosines: Array, own: Sequence[str], emotions: Sequence[str], confidence: float
) -> Implicit:
    """Everything about the implicit messages, at one layer and position."""
    named = sorted(set(own))
    index = np.array([named.index(e) for e in own])
    centred = _centred(cosines, named, emotions)
    rank = ranks(centred, index)
    rows = [
        {
            "emotion": emotion,
            "n": int((index == i).sum()),
            "top1": float((rank[index == i] < 1).mean()),
            "top3": float((rank[index == i] < 3).mean()),
            "centred_cosine": float(centred[index == i, i].mean()),
        }
        for i, emotion in enumerate(named)
    ]
    mean = np.stack([centred[index == i].mean(0) for i in range(len(named))])
    return Implicit(
        pd.DataFrame(rows),
        tuple(named),
        mean,
        pd.DataFrame([_share(centred, index, k, confidence) for k in (1, 3)]),
    )


def _centred(cosines: Array, named: Sequence[str], emotions: Sequence[str]) -> Array:
    chosen = cosines[:, [list(emotions).index(e) for e in named]].astype(np.float64)
    return np.asarray(chosen - chosen.mean(0))


def _share(centred: Array, index: Array, k: int, confidence: float) -> dict[str, float]:
    """How often the right emotion is among the first k, beside labels dealt out anew."""
    right = ranks(centred, index) < k
    low, high = resampled(right.astype(float), index, confidence)
    generator = np.random.default_rng(SEED)
    dealt = [
        float((ranks(centred, generator.permutation(index)) < k).mean()) for _ in range(N_SHUFFLES)
    ]
    bounds = np.quantile(dealt, [(1 - confidence) / 2, (1 + confidence) / 2])
    share = float(right.mean())
    return {
        "k": k,
        "n": len(right),
        "share": share,
        "low": low,
        "high": high,
        "shuffled": float(np.mean(dealt)),
        "shuffled_low": float(bounds[0]),
        "shuffled_high": float(bounds[1]),
        "p": (1 + sum(d >= share for d in dealt)) / (1 + N_SHUFFLES),
    }


def slopes(cosines: Array, values: Sequence[float], sign: int) -> tuple[float, float]:
    """(change of the cosine from the smallest to the largest number, rank correlation with it),
    both times `sign`. The change is that of a line on the number's logarithm."""
    log = np.log10(np.asarray(values, dtype=float))
    place = (log - log.min()) / (log.max() - log.min())
    rho = stats.spearmanr(place, cosines).statistic
    return sign * float(np.polyfit(place, cosines, 1)[0]), sign * float(rho)


def sign_test(values: Sequence[float], confidence: float) -> dict[str, float]:
    """How many are above 0, an interval of that share, and the chance of as many by luck."""
    above = sum(v > 0 for v in values)
    low, high = wilson(above, len(values), confidence)
    p = stats.binomtest(above, len(values), alternative="greater").pvalue if values else np.nan
    return {"right": above, "n": len(values), "low": low, "high": high, "p": float(p)}
