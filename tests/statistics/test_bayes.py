"""Posteriors compared with samples, with Student's t where it is exact, and by simulation."""

import numpy as np
import pytest
import scipy.stats

from lstm_lab.statistics.bayes import posterior_of_folds, posterior_of_means

A, B = [3.1, 3.4, 2.9, 3.6, 3.3], [2.8, 3.0, 3.3, 2.7]


def test_independent_means_equal_samples_of_their_posteriors():
    rng, draws = np.random.default_rng(0), 400_000

    def sample(values):
        steps = rng.standard_t(len(values) - 1, draws)
        return np.mean(values) + np.std(values, ddof=1) / np.sqrt(len(values)) * steps

    d = sample(A) - sample(B)
    posterior = posterior_of_means(A, B, rope=0.1)
    assert posterior.difference == pytest.approx(np.mean(A) - np.mean(B))
    assert posterior.better == pytest.approx((d > 0.1).mean(), abs=0.003)
    assert posterior.equal == pytest.approx((np.abs(d) <= 0.1).mean(), abs=0.003)
    assert posterior.worse == pytest.approx((d < -0.1).mean(), abs=0.003)
    bounds = np.quantile(d, (0.025, 0.975))
    assert (posterior.low, posterior.high) == pytest.approx(tuple(bounds), abs=0.03)


def test_one_side_without_spread_leaves_students_t():
    posterior = posterior_of_means(A, [3.0, 3.0, 3.0])
    error = np.std(A, ddof=1) / np.sqrt(len(A))
    expected = scipy.stats.t.sf((3.0 - np.mean(A)) / error, len(A) - 1)
    assert posterior.better == pytest.approx(expected, abs=2e-4)
    assert posterior.equal == 0.0
    assert posterior.better + posterior.worse == pytest.approx(1.0)


@pytest.mark.parametrize("rope", [0.0, 0.05])
def test_swapping_the_sides_swaps_the_probabilities(rope):
    ours, theirs = posterior_of_means(A, B, rope), posterior_of_means(B, A, rope)
    assert ours.better == pytest.approx(theirs.worse, abs=1e-3)
    assert ours.low == pytest.approx(-theirs.high, abs=1e-3)
    folds = np.subtract(A[:4], B)
    ours, theirs = posterior_of_folds(folds, 4, rope), posterior_of_folds(-folds, 4, rope)
    assert ours.better == pytest.approx(theirs.worse)


def test_folds_are_less_certain_than_independent_differences():
    d = np.array([0.02, 0.01, 0.03, 0.00, 0.02])
    posterior = posterior_of_folds(d, 5)
    scale = d.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert posterior.better == pytest.approx(scipy.stats.t.sf(-d.mean() / scale, 4))
    independent = scipy.stats.t.sf(-d.mean() / (d.std(ddof=1) / np.sqrt(5)), 4)
    assert posterior.better < independent


def test_differences_without_spread_are_certain():
    assert posterior_of_folds([0.2, 0.2], 3, rope=0.1)[3:] == (1.0, 0.0, 0.0)
    assert posterior_of_folds([0.05, 0.05], 3, rope=0.1)[3:] == (0.0, 1.0, 0.0)
    assert posterior_of_folds([0.0, 0.0], 3)[3:] == (0.5, 0.0, 0.5)
    assert posterior_of_means([1.0, 1.0], [1.0, 1.0])[3:] == (0.5, 0.0, 0.5)
    assert posterior_of_means([1.0, 1.0], [0.0, 0.0], rope=0.5)[3:] == (1.0, 0.0, 0.0)
    # The rounded mean of three times 0.1 is not 0.1.
    assert posterior_of_means([0.1] * 3, [0.1] * 5) == (0.0, 0.0, 0.0, 0.5, 0.0, 0.5)
    assert posterior_of_folds([0.1] * 3, 3, rope=0.1) == (0.1, 0.1, 0.1, 0.0, 1.0, 0.0)


def test_too_few_values_give_nan():
    assert np.isnan(posterior_of_means([1.0], B)).all()
    assert np.isnan(posterior_of_folds([1.0], 3)).all()


def test_intervals_cover_the_true_difference():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        a, b = rng.normal(0.3, 1.0, 5), rng.normal(0.0, 2.0, 5)
        posterior = posterior_of_means(list(a), list(b))
        covered += posterior.low <= 0.3 <= posterior.high
    # At least 95 %, less three standard errors: the prior makes the interval rather too wide.
    assert covered / 400 > 0.917
