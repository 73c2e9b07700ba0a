"""Intervals and tests: what scipy and statsmodels have, and the two that they lack.

Knows counts and arrays of numbers; not what a condition, a scenario or a run is. An interval of
nothing is (NaN, NaN).
"""

import zlib
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]
COLUMNS_AT_ONCE = 512
"""Columns resampled together; bounds memory at resamples × this many floats."""


def wilson(k: int, n: int, confidence: float) -> Interval:
    """Wilson score interval of the rate k/n; (NaN, NaN) where n is 0."""
    if n == 0:
        return nan, nan
    low, high = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    return (0.0 if k == 0 else float(low)), (1.0 if k == n else float(high))


@dataclass(frozen=True)
class Pairs:
    """A 2 × 2 table of pairs: whether something was seen before, and after."""

    both: int
    before_only: int
    after_only: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.before_only + self.after_only + self.neither

    @property
    def phi(self) -> float:
        """Correlation of before and after; NaN where one of them never varies."""
        scale = self._scale
        return self._determinant / scale if scale else nan

    @property
    def _determinant(self) -> int:
        return self.both * self.neither - self.before_only * self.after_only

    @property
    def _scale(self) -> float:
        before, after = self.both + self.before_only, self.both + self.after_only
        return sqrt(before * (self.n - before) * after * (self.n - after))


def newcombe_paired(pairs: Pairs, confidence: float) -> Interval:
    """Interval of the rate after minus the rate before, by hybrid scores.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 2635–2650, method 10: two Wilson
    intervals, joined with a continuity-corrected correlation.
    """
    if pairs.n == 0:
        return nan, nan
    before = (pairs.both + pairs.before_only) / pairs.n
    after = (pairs.both + pairs.after_only) / pairs.n
    low_b, high_b = wilson(pairs.both + pairs.before_only, pairs.n, confidence)
    low_a, high_a = wilson(pairs.both + pairs.after_only, pairs.n, confidence)
    determinant: float = pairs._determinant
    if determinant > 0:
        determinant = max(determinant - pairs.n / 2, 0.0)
    phi = determinant / pairs._scale if pairs._scale else 0.0

    def reach(a: float, b: float) -> float:
        return sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    difference = after - before
    return (
        max(difference - reach(after - low_a, high_b - before), -1.0),
        min(difference + reach(high_a - after, before - low_b), 1.0),
    )


def mcnemar_exact(pairs: Pairs) -> float:
    """Two-sided exact McNemar p-value; NaN where there is no pair."""
    if pairs.n == 0:
        return nan
    table = [[pairs.both, pairs.before_only], [pairs.after_only, pairs.neither]]
    return float(mcnemar(table, exact=True).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm-corrected p-values, in place; NaN stays NaN and does not count as a test."""
    corrected = [nan] * len(p_values)
    tested = [i for i, p in enumerate(p_values) if not np.isnan(p)]
    if tested:
        adjusted = multipletests([p_values[i] for i in tested], method="holm")[1]
        for i, p in zip(tested, adjusted, strict=True):
            corrected[i] = float(p)
    return corrected


@dataclass(frozen=True)
class ControlRank:
    """Where an effect stands among the same effect of directions that should do nothing."""

    p: float
    """(1 + controls at least as large) / (1 + controls); NaN without controls."""

    rank: int | None
    """1 is more extreme than every control."""

    n_controls: int
    low: float
    high: float
    """2.5 and 97.5 % quantiles of the controls."""


def control_rank(difference: float, controls: list[float]) -> ControlRank:
    """Rank of |difference| among the controls' absolute differences; NaN controls left out."""
    known = np.array([c for c in controls if not np.isnan(c)], dtype=np.float64)
    if known.size == 0:
        return ControlRank(nan, None, 0, nan, nan)
    low, high = (float(q) for q in np.quantile(known, [0.025, 0.975]))
    if np.isnan(difference):
        return ControlRank(nan, None, int(known.size), low, high)
    # A control that differs by rounding alone ties with the effect, which is the careful side.
    slack = 1e-12 * max(1.0, abs(difference))
    as_large = int((np.abs(known) >= abs(difference) - slack).sum())
    return ControlRank((1 + as_large) / (1 + known.size), 1 + as_large, int(known.size), low, high)


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on `seed` and `names` and on nothing else."""
    return np.random.default_rng([seed, zlib.crc32("\x1f".join(names).encode())])


def crossed_bootstrap(
    values: FloatArray, resamples: int, confidence: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Percentile intervals of the grand mean of each column, both factors resampled.

    `values` is (variants, units, columns); variants and units are drawn anew with replacement,
    independently of each other, and one draw serves all columns. With one variant only units are
    drawn. A column with a NaN, or with a single unit, has the interval (NaN, NaN).
    Source: A. B. Owen, Annals of Applied Statistics 1 (2007) 386–411, the pigeonhole bootstrap.
    """
    n_variants, n_units, n_columns = values.shape
    low, high = np.full(n_columns, nan), np.full(n_columns, nan)
    if n_units < 2:
        return low, high
    of_variants = rng.multinomial(n_variants, [1 / n_variants] * n_variants, resamples)
    of_units = rng.multinomial(n_units, [1 / n_units] * n_units, resamples)
    weights = (of_variants[:, :, None] * of_units[:, None, :]).reshape(resamples, -1)
    weights = weights / (n_variants * n_units)
    flat: Any = values.reshape(n_variants * n_units, n_columns)
    known = np.flatnonzero(np.isfinite(flat).all(axis=0))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for start in range(0, known.size, COLUMNS_AT_ONCE):
        columns = known[start : start + COLUMNS_AT_ONCE]
        low[columns], high[columns] = np.quantile(weights @ flat[:, columns], tails, axis=0)
    return low, high
