"""Sequential limits compared with published ones; the level over simulated studies."""

import doctest

import numpy as np
import pytest
import scipy.stats

from lstm_lab.statistics import sequential
from lstm_lab.statistics.sequential import (
    crossing_probabilities,
    judge_look,
    nominal_levels,
    spending_limits,
    spent_level,
)

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_the_limits_equal_published_ones():
    """Lan and DeMets with O'Brien-Fleming spending, as tests of other packages quote gsDesign."""
    assert spending_limits(FIFTHS, 0.05) == pytest.approx(
        [4.877, 3.357, 2.680, 2.290, 2.031], abs=5e-4
    )


@pytest.mark.parametrize(
    ("limits", "level"),
    [
        ([4.56, 3.23, 2.63, 2.28, 2.04], 0.05),  # O'Brien and Fleming
        ([2.413] * 5, 0.05),  # Pocock
        ([5.861, 4.144, 3.384, 2.931, 2.621], 0.01),  # O'Brien and Fleming
        ([2.986] * 5, 0.01),  # Pocock
    ],
)
def test_published_limits_have_their_level(limits, level):
    """Five equal looks: the constants of Jennison and Turnbull 2000, section 2, second-hand."""
    assert sum(crossing_probabilities(limits, FIFTHS)) == pytest.approx(level, rel=3e-3)


def test_two_looks_equal_a_bivariate_normal_distribution():
    shares = (0.3, 1.0)
    first, last = spending_limits(shares, 0.05)
    assert 2 * scipy.stats.norm.sf(first) == pytest.approx(spent_level(0.3, 0.05))
    normal = scipy.stats.multivariate_normal(cov=[[1, np.sqrt(0.3)], [np.sqrt(0.3), 1]])
    upper = np.array([first, last])
    within = normal.cdf(upper, lower_limit=-upper)
    assert 1 - within == pytest.approx(0.05, abs=1e-6)


def test_the_whole_level_is_spent_whatever_the_looks():
    shares = [n / 30 for n in (3, 4, 11, 12, 29, 30)]
    spent = np.cumsum(crossing_probabilities(spending_limits(shares, 0.01), shares))
    assert spent == pytest.approx([spent_level(share, 0.01) for share in shares])
    assert spent[-1] == pytest.approx(0.01)


def test_equal_variants_differ_in_five_percent_of_studies():
    """With Welch's p-values of few scores, which are not normal: docs/benchmarks.md."""
    looks, studies = (5, 10, 15), 4000
    a, b = np.random.default_rng(0).normal(size=(2, studies, 15))
    levels = nominal_levels(looks, 0.05)
    crossed = [
        scipy.stats.ttest_ind(a[:, :n], b[:, :n], axis=1, equal_var=False).pvalue < level
        for n, level in zip(looks, levels, strict=True)
    ]
    assert np.any(crossed, axis=0).mean() == pytest.approx(0.05, abs=3 * np.sqrt(0.0475 / studies))


def test_a_look_names_what_it_decides():
    low, high = [1.0, 1.1, 0.9, 1.0, 1.05], [2.0, 2.1, 1.9, 2.0, 2.05]
    assert judge_look(high, low, 1e-4, 0.0).verdict == "better"
    assert judge_look(low, high, 1e-4, 0.0).verdict == "worse"
    assert judge_look(low, high, 1e-30, 0.0).verdict == "undecided"
    assert judge_look(low, low, 0.01, 0.0).verdict == "undecided"
    assert judge_look(low, low, 0.01, 0.5).verdict == "equivalent"
    # A difference that the test shows is a difference, also a small one.
    assert judge_look(high, low, 1e-4, 5.0).verdict == "better"
    assert judge_look([], low, 0.01, 0.5).verdict == "no score"
    assert judge_look(low, [], 0.01, 0.0).verdict == "no score"
    assert judge_look([1.0], low, 0.01, 0.5).verdict == "undecided"


def test_the_examples_hold():
    failed, attempted = doctest.testmod(sequential)
    assert (failed, attempted) == (0, 2)
