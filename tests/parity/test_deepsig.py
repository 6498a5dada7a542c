"""Almost stochastic order compared with deepsig, the library of Ulmer et al. 2022."""

import numpy as np
import pytest
from deepsig.aso import aso, compute_violation_ratio

from lstm_lab.statistics.stochastic_order import almost_stochastic_order, violation_ratio

CASES = [(5, 5, 0.3), (7, 4, 1.0), (10, 20, 0.5), (20, 20, 0.2)]


@pytest.mark.parametrize(("n", "m", "difference"), CASES)
def test_the_violation_ratio_equals_deepsig(n, m, difference):
    rng = np.random.default_rng(n)
    a, b = rng.normal(difference, 1.0, n), rng.normal(0.0, 1.5, m)
    # Deepsig adds up a grid of t, here of 100,000 points; it leaves out the ends.
    assert violation_ratio(a, b) == pytest.approx(compute_violation_ratio(a, b, dt=1e-5), abs=1e-4)


@pytest.mark.parametrize(("n", "m", "difference"), CASES)
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_the_bound_equals_deepsig(n, m, difference, alpha):
    rng = np.random.default_rng(n)
    a, b = rng.normal(difference, 1.0, n), rng.normal(0.0, 1.5, m)
    ours = almost_stochastic_order(a, b, alpha=alpha)
    theirs = aso(a, b, confidence_level=1 - alpha, dt=0.01, seed=1, show_progress=False)
    margin = ours.a_above_b - ours.ratio
    # Both draw 1,000 bootstrap samples: a relative error of 2.2 % of each deviation, if the ratios
    # were normal; and a grid of 100 points. Four standard errors of the difference of both.
    assert ours.a_above_b == pytest.approx(theirs, abs=4 * np.sqrt(2) * 0.022 * margin + 0.01)


def test_the_corrections_are_equal_for_two_comparisons_only():
    a, b = np.random.default_rng(3).normal((0.5, 0.0), 1.0, (10, 2)).T
    options = {"dt": 0.01, "seed": 1, "show_progress": False}
    for comparisons, equal in ((2, True), (10, False)):
        ours = almost_stochastic_order(a, b, comparisons=comparisons).a_above_b
        theirs = aso(a, b, num_comparisons=comparisons, **options)
        assert (abs(ours - theirs) < 0.05) == equal
