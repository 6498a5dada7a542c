"""The learning-rate range test: its rates, where it stops, and the files of `train --find_lr`."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.sections import OptimSpec
from lstm_lab.training import lr_range_test, optimizer
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json


def test_the_range_test_stops_when_the_loss_rises(tmp_path, monkeypatch):
    # A low limit, so that the test ends well before its highest rate.
    monkeypatch.setattr(lr_range_test, "DIVERGENCE", 1.1)
    config = {"task": {"name": "digits"}, "model": {"hidden": 16}, "train": {"steps": 1}}
    spec = build_spec(config)
    result = lr_range_test.find_lr(spec, spec.task.load(tmp_path))
    n = len(result.rates)
    assert 50 < n < lr_range_test.STEPS
    np.testing.assert_allclose(result.rates, np.geomspace(1e-6, 10.0, 120)[:n])
    best_so_far = np.minimum.accumulate(result.losses)
    assert (np.array(result.losses)[1:] <= 1.1 * best_so_far[:-1]).all()
    # The rates took effect: the loss fell before it rose.
    assert best_so_far[-1] < 0.95 * result.losses[0]
    assert 1e-5 < result.suggested < 1.0


def test_a_loss_that_is_not_finite_from_the_start_is_one_line(tmp_path):
    spec = build_spec({"task": {"name": "digits"}, "model": {"hidden": 3}, "train": {"steps": 1}})
    dataset = spec.task.load(tmp_path)
    train = dataset.splits["train"]
    broken = train._replace(x=np.full(train.x.shape, np.nan, np.float32))
    with pytest.raises(UserError, match="--find-lr: the loss is nan at the learning rate 1e-06"):
        lr_range_test.find_lr(spec, replace(dataset, splits={**dataset.splits, "train": broken}))


def test_the_suggested_rate_is_where_the_loss_falls_fastest():
    result = lr_range_test.suggest_rates([1e-3, 1e-2, 1e-1, 1.0], [3.0, 2.5, 1.0, 2.0])
    assert (result.suggested, result.highest) == (1e-2, pytest.approx(1e-2))


@pytest.mark.parametrize(
    "schedule",
    [
        {"schedule": "cosine", "final_lr": 0.1, "warmup_steps": 9, "plateau": 2},
        {"schedule": "exponential", "decay_rate": 0.9, "decay_steps": 5, "accumulate": 4},
    ],
)
def test_every_schedule_becomes_constant(schedule):
    kept = lr_range_test.without_schedule(OptimSpec(name="sgd", momentum=0.9, **schedule))
    rate = optimizer.schedule(kept, 100.0)
    assert [float(rate(k)) for k in (0, 50, 100)] == [1.0, 1.0, 1.0]
    assert (kept.name, kept.momentum, kept.plateau, kept.accumulate) == ("sgd", 0.9, None, 1)


def test_the_command_writes_a_figure_and_the_rates(tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(
        "def get_config():\n"
        "    return {'task': {'name': 'counting'}, 'train': {'steps': 5, 'batch_size': 2}}\n"
    )
    flags = [f"--config={path}", f"--workdir={tmp_path / 'lr'}", "--devices=4", "--find_lr"]
    assert main(["train", *flags]) == 0
    assert "the loss falls fastest at" in capsys.readouterr().out
    assert (tmp_path / "lr" / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    assert read_json(tmp_path / "lr" / "lr_range.json")["suggested"] > 0
