"""Violation ratios compared with numerical integrals and closed forms; bounds by simulation."""

import numpy as np
import pytest
import scipy.stats

from lstm_lab.statistics.stochastic_order import (
    THRESHOLD,
    almost_stochastic_order,
    violation_ratio,
)

RNG = np.random.default_rng(0)


def integrated_ratio(a, b, points=200_000):
    """Returns the ratio by a Riemann sum over NumPy's own quantiles of the samples."""
    t = (np.arange(points) + 0.5) / points
    x, y = (np.quantile(values, t, method="inverted_cdf") for values in (a, b))
    return np.sum(np.maximum(y - x, 0) ** 2) / np.sum((y - x) ** 2)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 5), (5, 7), (12, 8), (3, 20)])
def test_the_ratio_equals_a_numerical_integral(n, m):
    a, b = RNG.normal(0.2, 1.0, n), RNG.normal(0.0, 2.0, m)
    assert violation_ratio(a, b) == pytest.approx(integrated_ratio(a, b), abs=1e-4)
    assert violation_ratio(a, b) + violation_ratio(b, a) == pytest.approx(1.0)


def test_the_ratio_of_two_normal_distributions_has_its_closed_form():
    """With equal spreads the order is total; with equal means half of the distance violates it.

    In between, A(t) - B(t) = d + (s_a - s_b) z(t) is negative below z = -d / (s_a - s_b).
    """
    d, spread = 0.7, 1.5
    t = (np.arange(40_000) + 0.5) / 40_000
    z = scipy.stats.norm.ppf(t)
    ratio = violation_ratio(d + (1.0 + spread) * z, z)
    k, norm = -d / spread, scipy.stats.norm
    # The second moment of d + spread Z below k, by parts of the normal density.
    part = (d**2 + spread**2) * norm.cdf(k) - (2 * d * spread + spread**2 * k) * norm.pdf(k)
    assert ratio == pytest.approx(part / (d**2 + spread**2), abs=1e-3)
    assert violation_ratio(z + 0.1, z) == 0.0
    assert violation_ratio(2 * z, z) == pytest.approx(0.5)


def test_many_samples_at_once_equal_one_after_the_other():
    a, b = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 3))
    each = [float(violation_ratio(x, y)) for x, y in zip(a, b, strict=True)]
    assert violation_ratio(a, b) == pytest.approx(each)
    assert violation_ratio(np.ones((2, 5)), np.ones((2, 3))).tolist() == [0.5, 0.5]


def test_the_bounds_add_a_quantile_of_the_bootstrap():
    a, b = RNG.normal(0.8, 1.0, 8), RNG.normal(0.0, 1.0, 6)
    order = almost_stochastic_order(a, b)
    rng = np.random.default_rng(7)
    deviation = np.std([violation_ratio(rng.choice(a, 8), rng.choice(b, 6)) for _ in range(20_000)])
    # 1,000 bootstrap samples have a deviation with a relative error of 2.2 %, and more for
    # ratios, which are not normal: five standard errors.
    margin = 1.6449 * deviation
    assert order.ratio == violation_ratio(a, b)
    assert order.a_above_b == pytest.approx(min(order.ratio + margin, 1.0), abs=0.15 * margin)
    assert order.b_above_a == pytest.approx(min(1 - order.ratio + margin, 1.0), abs=0.15 * margin)
    strict = almost_stochastic_order(a, b, comparisons=10)
    ratio = scipy.stats.norm.isf(0.005) / scipy.stats.norm.isf(0.05)
    low, high = order.ratio - 1 + order.b_above_a, order.a_above_b - order.ratio
    assert strict.a_above_b == pytest.approx(min(order.ratio + ratio * high, 1.0))
    assert strict.b_above_a == pytest.approx(min(1 - order.ratio + ratio * low, 1.0))


def test_swapping_the_sides_swaps_the_bounds():
    a, b = RNG.normal(0.5, 1.0, 7), RNG.normal(0.0, 1.0, 7)
    ours, theirs = almost_stochastic_order(a, b), almost_stochastic_order(b, a)
    assert ours.ratio == pytest.approx(1 - theirs.ratio)
    # Other bootstrap samples of each side.
    assert ours.a_above_b == pytest.approx(theirs.b_above_a, abs=0.1)


def test_separated_and_equal_samples():
    a = [0.9, 0.91, 0.92, 0.9, 0.93]
    assert almost_stochastic_order(a, [0.8, 0.82, 0.8, 0.81, 0.8]) == (0.0, 0.0, 1.0)
    assert almost_stochastic_order([1.0, 1.0], [1.0, 1.0]) == (0.5, 0.5, 0.5)
    assert np.isnan(almost_stochastic_order([1.0], a)).all()


def test_few_equal_variants_pass_the_threshold():
    """docs/benchmarks.md has the shares: 0.056 of 2,000 for five scores, 0.19 below 0.5."""
    rng = np.random.default_rng(1)
    bounds = np.array(
        [almost_stochastic_order(*rng.normal(size=(2, 5)), seed=k).a_above_b for k in range(600)]
    )
    # Three standard errors.
    assert (bounds < THRESHOLD).mean() == pytest.approx(0.056, abs=0.028)
    assert (bounds < 0.5).mean() == pytest.approx(0.19, abs=0.048)
