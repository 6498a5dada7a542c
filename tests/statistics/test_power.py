"""Power compared with published numbers of runs, and with simulated tests."""

import doctest

import numpy as np
import pytest
import scipy.stats

from lstm_lab.statistics import power as power_module
from lstm_lab.statistics.power import detectable_effect, runs_needed, welch_power


@pytest.mark.parametrize(("effect", "runs"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_runs_needed_equal_published_tables(effect, runs):
    """G*Power and statsmodels' `tt_ind_solve_power`; Cohen 1988 has 393, 64, 26 and 17."""
    assert runs_needed(effect, 0.05) == runs


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize(("effect", "alpha"), [(0.0, 0.05), (1.0, 0.05), (2.0, 0.01)])
def test_power_equals_simulated_tests(n, effect, alpha):
    rng = np.random.default_rng(n)
    studies = 20_000
    a, b = rng.normal(effect, 1.0, (studies, n)), rng.normal(0.0, 1.0, (studies, n))
    p = scipy.stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue
    expected = welch_power(effect, n, alpha)
    error = np.sqrt(expected * (1 - expected) / studies)
    assert (p < alpha).mean() == pytest.approx(expected, abs=4 * error)


def test_few_runs_have_less_power_than_students_test():
    """As documented: 0.77 and 0.79 for five runs and two deviations."""
    critical = scipy.stats.t.isf(0.025, 8)
    students = scipy.stats.nct(8, 2.0 * np.sqrt(2.5)).sf(critical)
    assert (round(welch_power(2.0, 5, 0.05), 2), round(students, 2)) == (0.77, 0.79)


@pytest.mark.parametrize("n", [2, 3, 5, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.0001])
def test_the_detectable_effect_has_the_power(n, alpha):
    assert welch_power(detectable_effect(n, alpha), n, alpha) == pytest.approx(0.8)
    assert welch_power(-detectable_effect(n, alpha, 0.5), n, alpha) == pytest.approx(0.5)


def test_the_number_of_runs_is_the_smallest():
    for effect, alpha in ((0.3, 0.05), (1.5, 0.005), (50.0, 0.05)):
        n = runs_needed(effect, alpha, 0.9)
        assert welch_power(effect, n, alpha) >= 0.9
        assert not welch_power(effect, n - 1, alpha) >= 0.9


def test_one_run_finds_nothing():
    assert np.isnan([welch_power(1.0, 1, 0.05), detectable_effect(1, 0.05)]).all()


def test_the_examples_hold():
    assert doctest.testmod(power_module).attempted == 3
    assert doctest.testmod(power_module).failed == 0
