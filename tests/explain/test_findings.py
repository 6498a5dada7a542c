"""Findings in words say what was measured, and no more."""

import numpy as np

from lstm_lab.explain.analyses import GradientByLag, LyapunovSpectrum
from lstm_lab.explain.findings import gradient_found, lyapunov_found


def lyapunov(*exponents):
    return lyapunov_found(LyapunovSpectrum(np.array([exponents]), len(exponents), 9.0))


def test_a_sign_of_the_largest_exponent_has_its_own_words():
    assert lyapunov(0.5, 0.1, -1.0).endswith("differences of the state grow in 2 directions.")
    assert lyapunov(-0.1, -1.0).endswith("shrink by a factor e within 10 steps.")
    assert lyapunov(0.0, -1.0).endswith("differences of the state neither grow nor shrink.")


def test_the_reach_of_the_gradient_counts_the_lags_that_were_measured():
    norm_T = np.array([1.0, 0.9, 0.8, np.nan, np.nan])
    assert "over all 2 steps" in gradient_found(GradientByLag(norm_T, norm_T[:-1]))
    assert "over all 4 steps" in gradient_found(GradientByLag(np.ones(5), np.ones(4)))
    faded_T = np.array([1.0, 0.5, 0.001, np.nan])
    assert "from 2 steps back on" in gradient_found(GradientByLag(faded_T, faded_T))
