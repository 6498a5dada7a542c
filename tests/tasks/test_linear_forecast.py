"""The linear forecast compared with scikit-learn's ridge regression; series that it must solve."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from lstm_lab.tasks import Dataset, Windows
from lstm_lab.tasks.linear_forecast import PENALTIES, linear_forecasts

CONTEXT, HORIZON = 6, 3


def dataset(values_ND, columns, *, relative=False, context=CONTEXT):
    """Windows over three parts of a series."""
    splits = {}
    for split, part in zip(("train", "valid", "test"), np.array_split(values_ND, 3), strict=True):
        starts = np.arange(len(part) - context - HORIZON + 1)
        splits[split] = Windows(part, starts, context, HORIZON, columns, relative)
    return Dataset(splits)


def series(seed, steps=300, columns=2):
    """A random walk, whose level changes from split to split."""
    return np.random.default_rng(seed).normal(size=(steps, columns)).cumsum(0).astype(np.float32)


@pytest.mark.parametrize("relative", [False, True])
def test_it_is_the_best_ridge_regression(relative):
    data = dataset(series(0), (1,), relative=relative)

    def arrays(split):
        windows = data.splits[split]
        x = windows.values[:, 1][windows.starts[:, None] + np.arange(CONTEXT)]
        y = windows.targets() if relative else windows.targets() - x[:, -1:]
        return (x[:, :-1] - x[:, -1:]).astype(float), y, x[:, -1:]

    (x, y, _), (x_valid, y_valid, _), (x_test, _, last) = map(arrays, ("train", "valid", "test"))
    # scikit-learn centers the features; the penalty is over the mean of their uncentered squares.
    fits = [Ridge(alpha=s * np.square(x).sum(0).mean(), solver="cholesky") for s in PENALTIES]
    errors = [np.square(fit.fit(x, y).predict(x_valid) - y_valid).sum() for fit in fits]
    expected = fits[int(np.argmin(errors))].predict(x_test) + (0 if relative else last)
    np.testing.assert_allclose(linear_forecasts(data), expected, rtol=1e-4, atol=1e-4)


def test_it_solves_a_linear_recurrence_at_any_level():
    steps = np.arange(400)
    values = np.sin(0.4 * steps) + 0.3 * np.cos(0.9 * steps + 1.0) + 0.01 * steps
    data = dataset(np.stack([values, -values], 1), (0, 1), context=12)
    targets = data.splits["test"].targets()
    forecasts = linear_forecasts(data)
    assert forecasts.shape == targets.shape
    assert np.abs(forecasts - targets).max() < 0.02


def test_a_constant_series_is_repeated():
    data = dataset(np.full((90, 1), 4.0, np.float32), (0,))
    np.testing.assert_allclose(linear_forecasts(data), 4.0)


def test_one_step_of_context_forecasts_the_mean_change():
    steps = np.arange(90.0)[:, None]
    data = dataset(steps, (0,), context=1)
    np.testing.assert_allclose(linear_forecasts(data), data.splits["test"].targets(), rtol=1e-6)
