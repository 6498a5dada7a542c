"""The decisions after an evaluation: here a learning rate that falls on a plateau."""

import numpy as np
import pytest

from lstm_lab.utils.files import read_lines
from tests.helpers.training import small_spec, train


def test_the_learning_rate_falls_on_a_plateau(tmp_path):
    # A rate so small that no evaluation is better than the first one by more than rounding.
    spec = small_spec(optim={"lr": 1e-12, "plateau": 2, "plateau_factor": 0.1}, train={"steps": 40})
    train([spec], tmp_path)
    rows = read_lines(tmp_path / "0" / "metrics.jsonl")
    valid = [row["mse"] for row in rows if row["split"] == "valid"]
    rates = [row["lr"] for row in rows if row["split"] == "train"]
    expected, stale, best, lr = [], 0, np.inf, 1e-12
    for value in valid:
        expected.append(lr)
        stale = 0 if value < best else stale + 1
        best = min(best, value)
        lr *= 0.1 if stale and stale % 2 == 0 else 1.0
    # Without abs=0 every rate below 1e-12 would pass: it is the default of `approx`.
    assert rates == pytest.approx(expected, rel=1e-5, abs=0)
    assert rates[-1] < 1e-14
