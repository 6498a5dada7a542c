"""Statistics beside published examples, formulas and simulations."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lstm_lab.report.hypotheses import holm, judge_claim, welch
from lstm_lab.report.stats import mean_interval

# Two samples with unequal variances; t and p by hand from Welch 1947's formulas below.
A = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
B = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4]


def welch_by_hand(a, b):
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    t = (np.mean(a) - np.mean(b)) / np.sqrt(va + vb)
    df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return t, df


def test_welch():
    t, df = welch_by_hand(A, B)
    np.testing.assert_allclose(welch(A, B), 2 * scipy.stats.t.sf(abs(t), df))
    np.testing.assert_allclose(welch(A, B, "less"), scipy.stats.t.cdf(t, df))
    assert np.isnan(welch([1.0], B))
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0], "less") == 0.0
    assert welch([1.0, 1.0], [2.0, 2.0], "greater") == 1.0


def test_holm_on_a_textbook_example():
    # Four p-values, alpha 0.05: 0.005 * 4, 0.01 * 3, then 0.03 * 2 and no less for 0.04.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.01, float("nan"), 0.04])
    np.testing.assert_allclose(adjusted, [0.02, float("nan"), 0.04])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_raw_p_and_bonferronis(p):
    adjusted = holm(p)
    for raw, q in zip(p, adjusted, strict=True):
        assert raw <= q <= min(1.0, len(p) * raw) or q == raw
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_the_interval_is_students():
    mean, low, high = mean_interval(A)
    reference = scipy.stats.t.interval(0.95, len(A) - 1, np.mean(A), scipy.stats.sem(A))
    np.testing.assert_allclose((mean, low, high), (np.mean(A), *reference))
    assert np.isnan(mean_interval([1.0]).low)
    assert np.isnan(mean_interval([]).mean)


def test_the_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, size=(2000, 5))
    hits = [low <= 3.0 <= high for _, low, high in map(mean_interval, samples)]
    assert 0.93 < np.mean(hits) < 0.97


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [(B, A, "holds"), (A, B, "fails"), (A, A, "inconclusive"), ([1.0], [0.0], "inconclusive")],
)
def test_claims(better, worse, verdict):
    assert judge_claim(better, worse, 0.05).verdict == verdict
