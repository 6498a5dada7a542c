"""Means that do not depend on the order and the number of equal scores."""

import numpy as np

from lstm_lab.report.means import exact_mean, interval_of_mean
from lstm_lab.statistics.estimates import mean_interval


def test_means_are_correctly_rounded():
    rng = np.random.default_rng(0)
    for n in range(1, 30):
        value = float(rng.random())
        assert exact_mean([value] * n) == value
        values = rng.random(n)
        assert exact_mean(values) == exact_mean(values[::-1])


def test_an_interval_keeps_its_bounds():
    values = [0.9, 0.8, 0.7]
    assert interval_of_mean(values)[1:] == mean_interval(values)[1:]
    assert interval_of_mean(values).estimate == exact_mean(values)
    assert np.isnan(interval_of_mean([])).all()
