"""One optimizer step: the effect of label smoothing. test_parallel.py tests steps by layout."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import CopyMemory
from lstm_lab.training.layout import Layout
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
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


@pytest.mark.parametrize("clip", [None, 1.0])
def test_gradients_of_frozen_parts_do_not_count(clip):
    optim = {"name": "sgd", "lr": 1.0, "clip": clip, "freeze": ("head",)}
    spec = small_spec(optim=optim, compute={"backend": "scan"})
    step = TrainStep(spec, 0)
    state = step.init(member_of(spec, 10))
    # The loss is far from its least value, so that every gradient is above the clip.
    params = {**state.params, "head": jax.tree.map(lambda w: w + 30.0, state.params["head"])}
    state = state._replace(params=params)
    after, report, grads = step.step(state, step.batch(None, state, None))
    assert all((g == 0).all() for g in jax.tree.leaves(grads["head"]))
    jax.tree.map(np.testing.assert_array_equal, after.params["head"], params["head"])
    mean = jax.tree.map(lambda g: np.asarray(g) / spec.train.batch_size, grads["lstm"])
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(mean)))
    np.testing.assert_allclose(report.grad_norm, norm, rtol=1e-5)
    # The trained parts move by the whole clip, or by their whole gradient.
    moved = jax.tree.map(lambda a, b: a - b, after.params["lstm"], params["lstm"])
    length = np.sqrt(sum((m**2).sum() for m in jax.tree.leaves(moved)))
    np.testing.assert_allclose(length, norm if clip is None else clip, rtol=1e-4)


@pytest.mark.parametrize("native", [True, False])
def test_a_program_for_a_tpu_has_no_kernel_of_the_cpu(monkeypatch, native):
    """Cell, head, optimizer: each asks for which device the program is, not which one is here."""
    monkeypatch.setattr("lstm_lab.models.native_head.LEAST_CLASSES", 2)
    spec = replace(small_spec(optim={"name": "adam"}), task=CopyMemory(4, 20, 20))
    step = TrainStep(spec, 0, device=None if native else DeviceType("tpu", "TPU v5 lite"))
    splits = spec.task.load(Path("nowhere")).splits

    def train_and_evaluate(member):
        state = step.init(member)
        metrics = step.evaluate(state.params, state.hparams, splits["valid"])
        return step.step(state, step.batch(splits.get("train"), state, None)), metrics

    program = str(jax.make_jaxpr(train_and_evaluate)(member_of(spec, 1)))
    calls = {"lstm_lab_forward", "lstm_lab_backward", "lstm_lab_head", "lstm_lab_optimizer"}
    assert {call for call in calls if call in program} == (calls if native else set())


def test_invalid_label_smoothing_is_rejected():
    with pytest.raises(UserError, match="label_smoothing: adding has no classes"):
        small_spec(train={"label_smoothing": 0.1})
    with pytest.raises(UserError, match="label_smoothing: got 1.0"):
        small_spec(task={"name": "temporal_order", "length": 10}, train={"label_smoothing": 1.0})
