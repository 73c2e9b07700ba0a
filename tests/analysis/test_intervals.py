"""Intervals and tests against published or independently computed values."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep

from emoctl.analysis.intervals import (
    Pairs,
    control_rank,
    crossed_bootstrap,
    generator,
    holm,
    mcnemar_exact,
    newcombe_paired,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 20, 0, 0.161125),
        (0, 50, 0, 0.071348),
        (11, 50, 0.127539, 0.352415),
        (36, 50, 0.583349, 0.825258),
        (1, 10, 0.017876, 0.404150),
    ],
)
def test_wilson_gives_the_reference_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n, 0.95) == pytest.approx((low, high), abs=1e-6)


def test_an_interval_of_nothing_is_unknown() -> None:
    assert all(map(isnan, wilson(0, 0, 0.95)))
    assert all(map(isnan, newcombe_paired(Pairs(0, 0, 0, 0), 0.95)))
    assert isnan(mcnemar_exact(Pairs(0, 0, 0, 0)))


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [(1, 9, 0.021484), (2, 10, 0.038574), (0, 6, 0.03125), (0, 5, 0.0625), (5, 5, 1.0)],
)
def test_mcnemar_gives_the_reference_values(b: int, c: int, p: float) -> None:
    assert mcnemar_exact(Pairs(3, b, c, 4)) == pytest.approx(p, abs=1e-6)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_a_binomial_test_of_the_pairs_that_differ(b: int, c: int) -> None:
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(Pairs(2, b, c, 2)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # Newcombe 1998, paired data, table II: a, b, c, d = 36, 12, 2, 0.
        (Pairs(36, 12, 2, 0), -0.3404, -0.0569),
        # Bentur et al. 2009, as in Fagerland, Lydersen and Laake: 1, 1, 7, 12.
        (Pairs(1, 1, 7, 12), 0.026, 0.507),
    ],
)
def test_newcombe_paired_gives_published_intervals(pairs: Pairs, low: float, high: float) -> None:
    assert newcombe_paired(pairs, 0.95) == pytest.approx((low, high), abs=5.1e-4)


def test_newcombe_without_correlation_is_the_interval_of_independent_samples() -> None:
    """A correlation smaller than its continuity correction counts as none."""
    expected = confint_proportions_2indep(36, 50, 11, 50, method="newcomb", compare="diff")
    assert expected == pytest.approx((0.309718, 0.640101), abs=1e-6)
    uncorrelated = Pairs(both=8, before_only=3, after_only=28, neither=11)
    assert newcombe_paired(uncorrelated, 0.95) == pytest.approx(expected, abs=1e-9)
    correlated = Pairs(both=11, before_only=0, after_only=25, neither=14)
    low, high = newcombe_paired(correlated, 0.95)
    assert high - low < expected[1] - expected[0] - 0.01


@given(*[st.integers(0, 25)] * 4)
def test_newcombe_holds_the_difference_and_mirrors(both: int, b: int, c: int, d: int) -> None:
    pairs, mirrored = Pairs(both, b, c, d), Pairs(both, c, b, d)
    if not pairs.n:
        return
    low, high = newcombe_paired(pairs, 0.95)
    difference = (c - b) / pairs.n
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    assert newcombe_paired(mirrored, 0.95) == pytest.approx((-high, -low))


def test_phi_is_the_correlation_of_the_two_columns() -> None:
    pairs = Pairs(both=7, before_only=2, after_only=3, neither=8)
    before = [1] * 7 + [1] * 2 + [0] * 3 + [0] * 8
    after = [1] * 7 + [0] * 2 + [1] * 3 + [0] * 8
    assert pairs.phi == pytest.approx(np.corrcoef(before, after)[0, 1])
    assert isnan(Pairs(0, 0, 4, 6).phi)


def test_holm_gives_the_reference_values_and_leaves_unknowns_out() -> None:
    raw = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    expected = [0.01, 0.072] + [0.312] * 5 + [0.615] * 3
    assert holm(raw) == pytest.approx(expected)
    with_gap = holm([raw[0], nan, *raw[1:]])
    assert isnan(with_gap[1])
    assert [p for p in with_gap if not isnan(p)] == pytest.approx(expected)
    assert holm([]) == []


def test_the_rank_counts_the_effect_itself() -> None:
    controls = [i / 100 for i in range(-49, 50)]
    best = control_rank(0.9, controls)
    assert (best.p, best.rank, best.n_controls) == (0.01, 1, 99)
    middle = control_rank(-0.25, controls)
    assert middle.rank == 51
    assert middle.p == pytest.approx(0.51)
    assert best.low == pytest.approx(-0.4655)
    assert best.high == pytest.approx(0.4655)


def test_a_rank_without_controls_or_effect_is_unknown() -> None:
    assert isnan(control_rank(0.9, []).p)
    assert control_rank(0.9, [nan]).n_controls == 0
    unknown = control_rank(nan, [0.1, 0.2])
    assert isnan(unknown.p)
    assert unknown.rank is None


def test_the_bootstrap_of_one_factor_is_as_wide_as_the_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=(1, 40, 1))
    low, high = crossed_bootstrap(values, 4000, 0.95, generator(1, "x"))
    error = values.std() / np.sqrt(40)
    assert (high - low)[0] == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert low[0] < values.mean() < high[0]


def test_the_crossed_bootstrap_sees_variation_between_variants() -> None:
    """Variants that differ widen the interval; units that do not differ cannot hide it."""
    rng = generator(1, "x")
    between = np.repeat(np.array([[0.0], [1.0], [2.0], [3.0]]), 5, axis=1)[:, :, None]
    low, high = crossed_bootstrap(between, 1000, 0.95, rng)
    assert (high - low)[0] > 1.5
    low, high = crossed_bootstrap(between[1:2], 1000, 0.95, rng)
    assert (high - low)[0] == 0


def test_bootstrap_columns_with_an_unknown_or_a_single_unit_have_no_interval() -> None:
    values = np.random.default_rng(0).normal(size=(2, 6, 3))
    values[1, 2, 1] = nan
    low, high = crossed_bootstrap(values, 200, 0.95, generator(0, "x"))
    assert list(np.isnan(low)) == [False, True, False] == list(np.isnan(high))
    alone, _ = crossed_bootstrap(values[:, :1], 200, 0.95, generator(0, "x"))
    assert np.isnan(alone).all()


def test_one_draw_serves_all_columns_whatever_stands_beside_them() -> None:
    values = np.random.default_rng(0).normal(size=(2, 6, 1100))
    together = crossed_bootstrap(values, 200, 0.95, generator(4, "a"))
    alone = crossed_bootstrap(values[:, :, 700:701], 200, 0.95, generator(4, "a"))
    assert together[0][700] == pytest.approx(alone[0][0], abs=1e-12)
    other = crossed_bootstrap(values[:, :, 700:701], 200, 0.95, generator(4, "b"))
    assert other[0][0] != pytest.approx(alone[0][0], abs=1e-6)
