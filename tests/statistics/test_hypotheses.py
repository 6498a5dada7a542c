"""Hypothesis tests compared with published examples, formulas, enumeration and simulations."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lstm_lab.statistics.hypotheses import (
    friedman,
    holm,
    sign_flip,
    superiority_test,
    welch,
    wilcoxon,
)
from tests.helpers.statistics import A

# A second sample with another variance; t and p by hand from Welch 1947's formulas below.
B = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4]
# Demsar 2006, table 6: AUC of four forms of C4.5 on 14 data sets. It prints 0.975 twice for one
# data set, but gives the two different ranks.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def welch_by_hand(a, b):
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    t = (np.mean(a) - np.mean(b)) / np.sqrt(va + vb)
    df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t, df


def test_welch_equals_the_formulas():
    t, df = welch_by_hand(A, B)
    np.testing.assert_allclose(welch(A, B), 2 * scipy.stats.t.sf(abs(t), df))
    np.testing.assert_allclose(welch(A, B, "less"), scipy.stats.t.cdf(t, df))
    assert np.isnan(welch([1.0], B))
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0], "less") == 0.0
    assert welch([1.0, 1.0], [2.0, 2.0], "greater") == 1.0


def test_welch_takes_sides_that_do_not_vary():
    """The mean of three times 0.1 is not 0.1 in floating point; scipy would warn, an error here."""
    constant = [0.1, 0.1, 0.1]
    assert np.std(constant) > 0
    assert welch(constant, constant) == 1.0
    t = (np.mean(B) - 0.1) / (np.std(B, ddof=1) / np.sqrt(len(B)))
    np.testing.assert_allclose(welch(constant, B), 2 * scipy.stats.t.sf(abs(t), len(B) - 1))


def test_wilcoxon_equals_enumeration_of_all_signs():
    """Without ties the p-value is exact: over all signs of the ranks."""
    difference = np.array([1.1, -0.3, 0.7, 2.0, -0.4, 1.5, 0.9])
    ranks = scipy.stats.rankdata(abs(difference))
    signs = np.array(list(product((-1, 1), repeat=7)))
    sums = (signs > 0) @ ranks
    observed = ranks[difference > 0].sum()
    greater, less = (sums >= observed).mean(), (sums <= observed).mean()
    zero = np.zeros(7)
    assert wilcoxon(difference, zero, "greater") == pytest.approx(greater)
    assert wilcoxon(difference, zero) == pytest.approx(2 * min(greater, less))
    assert wilcoxon([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert np.isnan(wilcoxon([1.0], [2.0]))


def test_friedman_and_nemenyi_on_demsars_example():
    """Demsar 2006, section 3.2.2: mean ranks, chi-squared 9.28, critical difference 1.25."""
    names = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
    result = friedman(dict(zip(names, DEMSAR.T, strict=True)))
    ranks = list(result.mean_ranks.values())
    np.testing.assert_allclose(ranks, [3.143, 2.0, 2.893, 1.964], atol=5e-4)
    # The paper does not correct for ties; scipy does, so that p is a little smaller.
    uncorrected = 12 * 14 / 20 * (sum(r * r for r in ranks) - 25)
    assert uncorrected == pytest.approx(9.28, abs=5e-3)
    assert result.p < scipy.stats.chi2.sf(uncorrected, 3) < 0.03
    assert result.p == pytest.approx(scipy.stats.chi2.sf(uncorrected, 3), rel=0.4)
    assert result.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert result.n_blocks == 14


def test_friedman_of_three_variants_in_three_blocks():
    """The smallest table that has a p-value; without ties, Demsar 2006's equation 1 is exact."""
    scores = {"a": [0.9, 0.8, 0.7], "b": [0.5, 0.6, 0.9], "c": [0.1, 0.7, 0.2]}
    result = friedman(scores)
    ranks = [4 / 3, 2.0, 8 / 3]
    assert list(result.mean_ranks.values()) == pytest.approx(ranks)
    statistic = 12 * 3 / 12 * (sum(r * r for r in ranks) - 3 * 16 / 4)
    assert result.p == pytest.approx(scipy.stats.chi2.sf(statistic, 2))
    # Demsar 2006, table 5: q is 2.343 for three classifiers at 0.05.
    assert result.critical_difference == pytest.approx(2.343 * np.sqrt(12 / 18), abs=1e-3)
    assert np.isnan(friedman({"a": scores["a"], "b": scores["b"]}).p)


def test_sign_flips_count_the_observed_signs_as_one_draw():
    """Phipson and Smyth 2010: p = (b + 1) / (m + 1), never 0, and 1 if every draw is as large."""
    # All signs of 60 pairs positive again: once in 1e18 draws.
    assert sign_flip([np.ones(60)], flips=999) == 0.001
    assert sign_flip([np.zeros(5)], flips=999) == 1.0
    assert sign_flip([-np.ones(60)], flips=999) == 1.0


def test_friedman_of_too_few_values_is_nan():
    assert np.isnan(friedman({"a": [1.0, 2.0], "b": [2.0, 1.0], "c": [3.0, 3.0]}).p)
    assert np.isnan(friedman({"a": [], "b": [], "c": []}).critical_difference)
    same = friedman({"a": [1.0] * 4, "b": [1.0] * 4, "c": [1.0] * 4})
    assert np.isnan(same.p)
    assert same.mean_ranks == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_holm_on_a_textbook_example():
    # Four p-values, alpha 0.05: 0.005 * 4, 0.01 * 3, then 0.03 * 2, and 0.04 gets no less.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.01, float("nan"), 0.04])
    np.testing.assert_allclose(adjusted, [0.02, float("nan"), 0.04])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_between_the_raw_p_and_bonferroni(p):
    adjusted = holm(p)
    for raw, q in zip(p, adjusted, strict=True):
        assert raw <= q <= min(1.0, len(p) * raw) or q == raw
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_keeps_the_family_wise_error():
    """Eight variants with the baseline's distribution, five seeds each: at most 5 % of studies err.

    The bound is three Monte Carlo errors above 5 %. Without the correction 20 % would err.
    """
    rng, studies = np.random.default_rng(2), 1000
    scores = rng.normal(size=(studies, 9, 5))
    # All tests in one call of scipy; another test compares `welch` with the formulas.
    p = scipy.stats.ttest_ind(scores[:, 1:], scores[:, :1], axis=-1, equal_var=False).pvalue
    np.testing.assert_allclose(p[0, 0], welch(scores[0, 1], scores[0, 0]))
    false_positives = sum(min(holm(row)) < 0.05 for row in p)
    assert false_positives / studies < 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def test_a_variant_equal_to_the_baseline_rarely_wins():
    rng, studies = np.random.default_rng(3), 1000
    pairs = rng.normal(size=(studies, 2, 10))
    # All tests in one call of scipy, which is what `superiority_test` computes one by one.
    better, worse = pairs.transpose(1, 0, 2)
    p = scipy.stats.ttest_ind(better, worse, axis=-1, equal_var=False, alternative="greater").pvalue
    for (a, b), of_pair in zip(pairs[:50], p, strict=False):
        assert superiority_test(a, b, 0.05).p == pytest.approx(of_pair)
        assert (superiority_test(a, b, 0.05).verdict == "holds") == (of_pair < 0.05)
    wins = np.mean(p < 0.05)
    assert wins < 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [(B, A, "holds"), (A, B, "fails"), (A, A, "inconclusive"), ([1.0], [0.0], "inconclusive")],
)
def test_superiority_verdicts(better, worse, verdict):
    assert superiority_test(better, worse, 0.05).verdict == verdict
