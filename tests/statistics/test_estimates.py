"""Estimates compared with published examples, enumeration and simulations."""

from itertools import combinations

import numpy as np
import pytest
import scipy.stats

from lstm_lab.statistics.estimates import (
    bootstrap_interval,
    expected_best,
    hedges_g,
    interquartile_mean,
    mean_and_std,
    mean_interval,
    probability_of_improvement,
)
from tests.helpers.statistics import A


def with_moments(mean, deviation, n, seed):
    """Returns n values with exactly this mean and standard deviation."""
    values = np.random.default_rng(seed).normal(size=n)
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


def test_the_interval_equals_students_t():
    mean, low, high = mean_interval(A)
    reference = scipy.stats.t.interval(0.95, len(A) - 1, np.mean(A), scipy.stats.sem(A))
    np.testing.assert_allclose((mean, low, high), (np.mean(A), *reference))
    assert np.isnan(mean_interval([1.0]).low)
    assert np.isnan(mean_interval([]).estimate)


@pytest.mark.parametrize("n", [5, 10])
def test_the_interval_covers_the_mean(n):
    rng = np.random.default_rng(n)
    samples = rng.normal(3.0, 2.0, size=(2000, n))
    hits = [low <= 3.0 <= high for _, low, high in map(mean_interval, samples)]
    assert 0.93 < np.mean(hits) < 0.97


def test_the_interquartile_mean_cuts_a_quarter_on_each_side():
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0, 4.0, -50.0, 5.0, 6.0]) == 3.5
    rows = np.array([[0.0, 1.0, 2.0, 99.0], [-9.0, 5.0, 7.0, 8.0]])
    np.testing.assert_array_equal(interquartile_mean(rows), [1.5, 6.0])
    # Agarwal et al. 2021: the 25 % trimmed mean, in the limit the mean between the quartiles.
    values = scipy.stats.expon.ppf((np.arange(4000) + 0.5) / 4000)
    q1, q3 = scipy.stats.expon.ppf([0.25, 0.75])
    inside = scipy.stats.expon.expect(lambda x: x, lb=q1, ub=q3) * 2
    np.testing.assert_allclose(interquartile_mean(values), inside, rtol=1e-3)


def test_the_bootstrap_resamples_within_its_strata():
    # One stratum is constant: the interval contains only the spread of the other.
    constant, spread = [10.0] * 6, list(with_moments(0.0, 1.0, 6, 0))
    interval = bootstrap_interval([constant, spread], lambda v: v.mean(-1))
    assert interval.estimate == pytest.approx(5.0)
    low, high = bootstrap_interval([spread], lambda v: v.mean(-1))[1:]
    np.testing.assert_allclose(
        (interval.low, interval.high), (5 + low / 2, 5 + high / 2), atol=0.05
    )
    assert np.isnan(bootstrap_interval([[1.0], [2.0, 3.0]], lambda v: v.mean(-1)).low)
    assert np.isnan(bootstrap_interval([[]], lambda v: v.mean(-1)).estimate)
    # Two values are resampled as two equal ones half of the time.
    assert bootstrap_interval([[2.0, 3.0]], lambda v: v.mean(-1)) == (2.5, 2.0, 3.0)


def test_the_bootstrap_equals_scipys_percentile_interval():
    reference = scipy.stats.bootstrap(
        (np.array(A),), np.mean, method="percentile", n_resamples=20_000, rng=0
    ).confidence_interval
    interval = bootstrap_interval([A], lambda v: v.mean(-1))
    np.testing.assert_allclose(interval[1:], reference, atol=0.1)


def test_the_bootstrap_covers_the_interquartile_mean():
    """At 50 values; docs/benchmarks.md has the coverage for other numbers."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        _, low, high = bootstrap_interval([rng.normal(size=50)], interquartile_mean)
        hits += low <= 0.0 <= high
    # Three Monte Carlo errors below 93 %.
    assert hits / 400 > 0.93 - 3 * np.sqrt(0.93 * 0.07 / 400)


def test_the_probability_of_improvement_equals_mann_whitneys_u():
    b = [21.0, 19.5, 23.6, 30.0]
    u = scipy.stats.mannwhitneyu(A, b).statistic
    assert probability_of_improvement(A, b) == pytest.approx(u / (len(A) * len(b)))
    assert probability_of_improvement([1.0, 2.0], [2.0, 0.0]) == 0.625
    assert np.isnan(probability_of_improvement([], b))


def test_hedges_g_on_a_published_example():
    """Borenstein et al. 2009, Introduction to Meta-Analysis, chapter 4: d 0.5970, g 0.5924."""
    treated, control = with_moments(103, 5.5, 50, 0), with_moments(100, 4.5, 50, 1)
    assert hedges_g(treated, control) == pytest.approx(0.5924, abs=1e-4)
    assert hedges_g([1.0, 1.0], [1.0, 1.0]) == 0.0
    assert hedges_g([2.0, 2.0], [1.0, 1.0]) == float("inf")
    assert np.isnan(hedges_g([1.0], A))


def test_equal_values_have_no_deviation_whatever_their_rounded_mean():
    assert np.std([0.1] * 3) > 0
    assert mean_and_std([0.1] * 3) == (0.1, 0.0)
    assert mean_and_std([0.1]) == (0.1, 0.0)
    assert mean_and_std(A) == (np.mean(A), np.std(A, ddof=1))
    assert np.isnan(mean_and_std([0.1, np.nan])).all()
    assert mean_interval([0.1] * 3) == (0.1, 0.1, 0.1)
    assert hedges_g([0.1] * 3, [0.1] * 5) == 0.0
    assert hedges_g([0.97] * 6, [0.95] * 6) == float("inf")
    assert hedges_g([0.95] * 6, [0.97] * 6) == -float("inf")


def test_the_expected_best_is_the_mean_over_all_subsets():
    valid = np.array([0.3, 0.9, 0.1, 0.7, 0.5, 0.8])
    test = np.array([0.2, 0.6, 0.1, 0.8, 0.5, 0.4])
    best_of_k = expected_best(valid, test)
    for k in range(1, 7):
        subsets = [list(subset) for subset in combinations(range(6), k)]
        best = [test[subset][np.argmax(valid[subset])] for subset in subsets]
        assert best_of_k[k - 1] == pytest.approx(np.mean(best))
    assert best_of_k[-1] == 0.6
    assert len(expected_best([], [])) == 0


def test_the_expected_best_never_selects_a_trial_without_a_selection_score():
    assert expected_best([np.nan, 0.9, 0.1], [7.0, 2.0, 1.0])[-1] == 2.0
