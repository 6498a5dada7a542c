"""Divergence: what a run says about it, rollbacks, and scores that are not finite."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import to_json
from lstm_lab.studies.run import launch
from lstm_lab.studies.study import Study
from lstm_lab.tasks import epoch_order, steps_per_epoch, train_batch
from lstm_lab.tasks.datasets.digits import Digits
from lstm_lab.training.divergence import describe_batch, fault_record
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import StopRequest, train_cohort
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import REPORT, Fault
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.training import (
    StopAfter,
    assert_same_record,
    growing_spec,
    run_record,
    small_spec,
    state_with_runs,
    train,
)


def first_fault_by_single_steps(spec, steps):
    """Returns the first step whose loss or gradient norm is not finite, and both, step by step."""
    program = build_program(spec, steps, Layout("single", 1, 1))
    state = state_with_runs(program, [spec], steps)
    data = program.place_data({"valid": spec.task.load(Path("nowhere")).splits["valid"]})
    for step in range(1, steps + 1):
        state, report = program.run_chunk(state, data, jnp.int32(1), jnp.int32(REPORT))
        loss, norm = float(report.loss[0]), float(report.grad_norm[0])
        if not (np.isfinite(loss) and np.isfinite(norm)):
            return step, loss, norm
    return None


def test_a_diverged_run_names_the_step_and_its_batch(tmp_path):
    spec = growing_spec()
    step, loss, norm = first_fault_by_single_steps(spec, 20)
    assert step > 1
    train([spec], tmp_path)
    result = read_json(tmp_path / "0" / "result.json")
    found = result["divergence"]
    assert (result["status"], found["step"], found["lr"]) == ("diverged", step, 1e6)
    assert [float(found["loss"]), float(found["grad_norm"])] == pytest.approx(
        [loss, norm], nan_ok=True
    )
    assert found["batch"] == {"data_seed": 0, "step": step}
    assert f"step {step}: loss {found['loss']}, gradient norm" in result["reason"]
    assert f"--replay={step}" in read_json(tmp_path / "0" / "run.json")["reason"]


@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("step", [1, 12, 13, 30])
def test_the_batch_of_a_step_is_named_by_its_examples(step, bucket):
    """Against the batch that training reads; the last one of an epoch is short."""
    task = Digits()
    spec = build_spec(
        {"task": {"name": "digits"}, "train": {"batch_size": 100, "steps": 40, "bucket": bucket}}
    )
    split = task.load(Path("nowhere")).splits["train"]
    fault = Fault(np.int32(step), np.float32("nan"), np.float32("inf"), np.float32(0.1))
    record = fault_record(spec, split, fault)
    places = record["batch"]["examples"]
    epoch = (step - 1) // steps_per_epoch(split, 100)
    batch = train_batch(
        None,
        split,
        jnp.uint32(0),
        jnp.int32(step - 1),
        jnp.arange(100),
        100,
        epoch_order(split, jnp.uint32(0), epoch, 100 if bucket else None),
    )
    real = np.asarray(batch.weight_B) > 0
    assert len(places) == real.sum()
    np.testing.assert_array_equal(split.x[places], np.asarray(batch.examples.x)[real])
    assert (record["loss"], record["grad_norm"]) == ("nan", "inf")


def test_a_faulty_validation_alone_is_a_divergence(tmp_path):
    """The last step of the interval destroys the weights: no training step sees it."""
    spec = growing_spec(train={"steps": 1, "eval_every": 1}, optim={"lr": 1e38})
    assert first_fault_by_single_steps(spec, 1) is None
    train([spec], tmp_path)
    result = read_json(tmp_path / "0" / "result.json")
    assert result["status"] == "diverged"
    assert "divergence" not in result
    assert "validation loss at step 1 is not finite" in result["reason"]


def test_zero_weights_have_a_finite_update_ratio(tmp_path):
    """They are a legal start: the bias of the head learns."""
    train([small_spec(model={"init": "normal(0)", "forget_bias": 0.0})], tmp_path)
    rows = read_lines(tmp_path / "0" / "metrics.jsonl")
    assert all(row["update_ratio"] is not None for row in rows if row["split"] == "train")


def test_a_run_with_a_test_loss_that_is_not_finite_has_not_completed(tmp_path, monkeypatch):
    from lstm_lab.training.session import Session

    real = Session._finish

    def finish(self, lanes):
        self.test = self.test._replace(y=jnp.full_like(self.test.y, jnp.nan))
        real(self, lanes)

    monkeypatch.setattr(Session, "_finish", finish)
    train([small_spec()], tmp_path)
    result = read_json(tmp_path / "0" / "result.json")
    assert result["status"] == "diverged"
    assert "test mae is nan" in result["reason"] or "test mse is nan" in result["reason"]


def test_a_study_whose_runs_all_diverge_fails(tmp_path, capsys):
    study = Study("s", to_json(growing_spec()), (), (0, 1))
    assert launch(study, tmp_path, tmp_path, StopRequest()) == "failed"
    assert "all runs diverged" in capsys.readouterr().err


ROLLBACK = {"on_nan": "rollback", "rollback_factor": 1e-7}


def test_a_rollback_continues_from_the_last_good_evaluation_at_a_lower_rate(tmp_path, capsys):
    """Equal to a run that has the lower rate from that evaluation on."""
    spec = growing_spec(train=ROLLBACK)
    train([spec], tmp_path / "a")
    result, rows, params = run_record(tmp_path / "a" / "0")
    assert result["status"] == "completed"
    (entry,) = read_json(tmp_path / "a" / "0" / "run.json")["rollbacks"]
    step, _, _ = first_fault_by_single_steps(growing_spec(), 20)
    assert entry["fault"]["step"] == step
    assert (entry["from"], entry["to"]) == (-(-step // 5) * 5, (step - 1) // 5 * 5)
    assert entry["lr"] == pytest.approx(0.1)
    assert "goes back from step" in capsys.readouterr().err
    lower = growing_spec(optim={"lr": 0.1})
    train([lower], tmp_path / "b")
    other, other_rows, other_params = run_record(tmp_path / "b" / "0")
    assert other["test"] == pytest.approx(result["test"], rel=1e-6)
    jax.tree.map(np.testing.assert_allclose, params, other_params)
    assert [r["step"] for r in rows[entry["rows"] :]] == [r["step"] for r in other_rows]


def test_the_limit_of_rollbacks_ends_the_run(tmp_path):
    spec = growing_spec(train={**ROLLBACK, "rollback_factor": 0.999, "rollback_limit": 2})
    train([spec], tmp_path)
    assert read_json(tmp_path / "0" / "result.json")["status"] == "diverged"
    assert len(read_json(tmp_path / "0" / "run.json")["rollbacks"]) == 2


@pytest.mark.optimized
@pytest.mark.parametrize("checks", [1, 2, 3, 5])
def test_interrupted_rollbacks_resume_bit_for_bit(checks, tmp_path):
    """Lanes go back independently of each other; calls of other lengths change nothing."""
    specs = [growing_spec(train=ROLLBACK), growing_spec(optim={"lr": 0.3}, train=ROLLBACK)]
    layout = Layout("single", 1, 2)
    short = [replace(s, compute=replace(s.compute, log_every=2)) for s in specs]
    train(short, tmp_path / "a", layout)
    train(short, tmp_path / "b", layout, stop=StopAfter(checks))
    train(short, tmp_path / "b", layout)
    train(specs, tmp_path / "c", layout)
    for k in range(2):
        a, b, c = (run_record(tmp_path / run / str(k)) for run in "abc")
        assert_same_record(a, b)
        assert a[0]["test"] == c[0]["test"]
        jax.tree.map(np.testing.assert_array_equal, a[2], c[2])
        heads = [read_json(tmp_path / run / str(k) / "run.json")["rollbacks"] for run in "ab"]
        assert heads[0] == heads[1]
        assert len(heads[0]) == 1 - k


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e39])
@pytest.mark.parametrize(
    "setting",
    [
        "optim.lr",
        "optim.weight_decay",
        "model.forget_bias",
        "compute.checkpoint_seconds",
        "optim.clip",
        "model.input_noise",
        "train.activation_reg",
    ],
)
def test_numbers_that_are_not_finite_are_refused(setting, value):
    section, name = setting.split(".")
    with pytest.raises(
        UserError, match=re.escape(f"{setting}: got {value}, expected a finite number")
    ):
        small_spec(**{section: {name: value}})
    # Also where no file is parsed: other modules change specs by `replace`.
    part = getattr(small_spec(), section)
    with pytest.raises(
        ValueError, match=re.escape(f"{name}: got {value}, expected a finite number")
    ):
        replace(part, **{name: value})


def test_a_batch_of_a_stream_is_named_by_its_chunk(text):
    from tests.helpers.training import language_spec

    spec = language_spec(text)
    split = spec.task.load(Path("nowhere")).splits["train"]
    steps = split.track_steps(4) // 5
    assert describe_batch(spec, split, steps + 3)["chunk"] == 2


def few_digits(**sizes):
    """Returns a spec with batches of 8 and the data of Digits, cut to some sizes."""
    spec = build_spec(
        {
            "task": {"name": "digits"},
            "model": {"hidden": 3},
            "train": {"batch_size": 8, "epochs": 2},
            "compute": {"checkpoint_seconds": 0.0},
        }
    )
    dataset = spec.task.load(Path("nowhere"))
    cut = {name: first(split, sizes.get(name, 4)) for name, split in dataset.splits.items()}
    return spec, replace(dataset, splits=cut)


def first(split, n):
    return jax.tree.map(lambda a: a[:n, :5] if a.ndim > 1 else a[:n], split)


def cohort_of(spec, folder):
    return Cohort((CohortRun(spec, folder / "0"),), Layout("single", 1, 1), folder / "checkpoints")


def test_a_training_split_smaller_than_a_batch_is_one_batch(tmp_path):
    """Its empty rows have weight 0: the loss is the mean over the examples that are there."""
    spec, dataset = few_digits(train=3)
    train_cohort(cohort_of(spec, tmp_path), dataset, stop=StopRequest())
    rows = [r for r in read_lines(tmp_path / "0" / "metrics.jsonl") if r["split"] == "train"]
    assert [(row["step"], row["sequences"]) for row in rows] == [(1, 3), (2, 6)]
    assert read_json(tmp_path / "0" / "result.json")["status"] == "completed"


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_split_without_examples_is_refused(name, tmp_path):
    spec, dataset = few_digits(**{name: 0})
    with pytest.raises(UserError, match=f"^task: the {name} split of digits has no examples"):
        train_cohort(cohort_of(spec, tmp_path), dataset, stop=StopRequest())


@pytest.mark.parametrize(
    "layout", [Layout("members", 2, 2), Layout("batch", 2, 2), Layout("single", 1, 2, width=4)]
)
def test_members_go_back_on_several_devices_and_at_a_larger_width(layout, tmp_path):
    specs = [growing_spec(optim={"lr": lr, "average": 1}, train=ROLLBACK) for lr in (1e6, 0.3)]
    assert train(specs, tmp_path, layout).status == "completed"
    for k, rollbacks in enumerate((1, 0)):
        assert read_json(tmp_path / str(k) / "result.json")["status"] == "completed"
        assert len(read_json(tmp_path / str(k) / "run.json")["rollbacks"]) == rollbacks
