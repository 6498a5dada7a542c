"""One optimizer step: the effect of label smoothing. test_parallel.py tests steps by layout."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.training.layout import Layout
from lstm_lab.utils.errors import UserError
from tests.helpers.training import run_steps, small_spec


def test_smoothed_labels_change_the_loss_and_the_update():
    spec = small_spec(task={"name": "temporal_order", "length": 10}, optim={"lr": 0.5})
    smoothed = replace(spec, train=replace(spec.train, label_smoothing=0.5))
    assert run_id(smoothed) != run_id(spec)
    dataset = spec.task.load(Path("nowhere"))
    (losses, params), (smoothed_losses, smoothed_params) = (
        run_steps([one], Layout("single", 1, 1), dataset, n=2) for one in (spec, smoothed)
    )
    # The first loss is computed with the same weights; before the second, one update differs.
    assert abs(losses[0, 0] - smoothed_losses[0, 0]) > 1e-3
    assert abs(losses[1, 0] - smoothed_losses[1, 0]) > 1e-3
    bias, smoothed_bias = params["head"]["bias"], smoothed_params["head"]["bias"]
    assert np.abs(bias - smoothed_bias).max() > 1e-3
    assert jax.tree.structure(params) == jax.tree.structure(smoothed_params)


def test_invalid_label_smoothing_is_rejected():
    with pytest.raises(UserError, match="label_smoothing: adding has no classes"):
        small_spec(train={"label_smoothing": 0.1})
    with pytest.raises(UserError, match="label_smoothing: got 1.0"):
        small_spec(task={"name": "temporal_order", "length": 10}, train={"label_smoothing": 1.0})
