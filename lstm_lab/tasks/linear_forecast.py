"""A linear forecast in closed form: the baseline that a recurrent forecast has to beat.

In: the windows of a forecasting task. Out: forecasts of the test windows. datasets/forecasting.py
adds them to the trivial baselines.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lstm_lab.tasks.base import Dataset
from lstm_lab.tasks.examples import Windows

# Steps of the context that are read at most, as many as the published NLinear reads: the system of
# equations grows with their square.
MOST_STEPS = 336
# Strengths of the penalty, over the mean square of the features; the best one on `valid` is taken.
PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
NUMBERS = 2**15  # in the windows that are in memory at a time


def linear_forecasts(dataset: Dataset) -> np.ndarray:
    """Forecasts each target column by a linear map of its own last values.

        y_k = x_T + sum_t w_kt (x_t - x_T) + b_k

    The weights are those of ridge regression, without a penalty on b; its strength is chosen by the
    error on `valid`.

    Args:
      dataset: its splits are windows.

    Returns:
      Forecasts of the test split [N,C], in the form of its targets.

    Source: NLinear of Zeng et al. 2023, Are Transformers Effective for Time Series Forecasting?;
    there trained by gradient descent, without a penalty.
    """
    train, valid, test = (dataset.splits[split] for split in ("train", "valid", "test"))
    assert isinstance(train, Windows)
    assert isinstance(valid, Windows)
    assert isinstance(test, Windows)
    forecasts = np.empty((test.rows, test.horizon, len(test.columns)))
    for k in range(len(test.columns)):
        candidates = _candidates(train, k)
        weights = candidates[int(_errors(valid, k, candidates).argmin())]
        parts = [features @ weights for features, _ in _batches(test, k)]
        forecasts[:, :, k] = np.concatenate(parts)
    if not test.relative:
        forecasts += test.step(test.context - 1)[:, None, test.columns]
    return forecasts.reshape(test.rows, -1)


def _batches(windows: Windows, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields features [n,L] of the k-th target column, a 1 in the end, and its targets [n,horizon].

    Both are differences to the last value of the context.
    """
    # One column at a time: a window of all columns may be large.
    values_N = np.asarray(windows.values)[:, windows.columns[k]].astype(np.float64)
    steps = min(windows.context, MOST_STEPS)
    span = np.arange(windows.context - steps, windows.context + windows.horizon)
    rows = max(1, NUMBERS // len(span))
    for begin in range(0, windows.rows, rows):
        starts_N1 = np.asarray(windows.starts)[begin : begin + rows, None]
        window_NS = values_N[starts_N1 + span]
        x_NT, last_N1 = window_NS[:, :steps], window_NS[:, steps - 1 : steps]
        # The last difference is 0, and so leaves its place to the constant.
        features = np.concatenate([x_NT[:, :-1] - last_N1, np.ones_like(last_N1)], 1)
        yield features, window_NS[:, steps:] - last_N1


def _candidates(train: Windows, k: int) -> list[np.ndarray]:
    """Returns the weights [L,horizon] for each strength of the penalty."""
    steps = min(train.context, MOST_STEPS)
    gram, moments = np.zeros((steps, steps)), np.zeros((steps, train.horizon))
    for features, y in _batches(train, k):
        gram += features.T @ features
        moments += features.T @ y
    penalized = np.append(np.ones(steps - 1), 0.0)
    # Of a constant series, all features are 0.
    scale = float((np.diag(gram) * penalized).sum() / max(steps - 1, 1)) or 1.0
    return [np.linalg.solve(gram + np.diag(s * scale * penalized), moments) for s in PENALTIES]


def _errors(valid: Windows, k: int, candidates: list[np.ndarray]) -> np.ndarray:
    """Returns the sums of the squared errors of a target column, for each of some weights."""
    errors = np.zeros(len(candidates))
    for features, y in _batches(valid, k):
        errors += [np.square(features @ weights - y).sum() for weights in candidates]
    return errors
