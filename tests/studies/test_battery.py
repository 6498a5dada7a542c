"""`lstm-lab compare` on tiny tasks: a renamed baseline, a wrong gradient, a budget in hours."""

from functools import partial
from pathlib import Path

import pytest

from lstm_lab.api.training import compare
from lstm_lab.cli import main
from lstm_lab.studies import battery
from lstm_lab.tasks import metric_directions
from lstm_lab.utils.errors import UserError
from tests.helpers.training import small_spec

CELL = """
from lstm_lab.cells import CellSpec

same = CellSpec(peephole="ifo", init="normal(0.1)")
"""
BROKEN = """
from dataclasses import replace
import jax
from lstm_lab.cells import GATED_LSTM, CellSpec

def pointwise(spec, params, zx, zh, state, noise=None):
    new, gates = GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)
    return new._replace(h=jax.lax.stop_gradient(new.h)), gates

broken = CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise))
"""


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Replaces the battery by two tasks that train in a few seconds."""
    task = {"name": "adding", "valid_size": 20, "test_size": 20}
    tasks = {
        f"adding_{length}": battery.BatteryTask(
            {
                "task": {**task, "length": length},
                "model": {"hidden": 4},
                "optim": {"name": "adam"},
                "train": {"batch_size": 8, "steps": 20, "eval_every": 10},
            }
        )
        for length in (4, 6)
    }
    monkeypatch.setattr(battery, "TASKS", tasks)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_cell.py").write_text(CELL + BROKEN)
    return tmp_path


def test_a_renamed_baseline_never_wins(tiny, capsys):
    assert main(["compare", "my_cell.py:same", "--budget=2", "--workdir=w"]) == 0
    out = capsys.readouterr().out
    assert "are equivalent" in out or "inconclusive" in out
    assert (tiny / "w" / "report" / "report.html").exists()
    assert (tiny / "w" / "adding_4" / "study.json").exists()
    # A second call trains nothing.
    assert main(["compare", "my_cell.py:same", "--budget=2", "--workdir=w"]) == 0


def test_a_cell_with_a_wrong_gradient_is_not_trained(tiny, capsys):
    assert main(["compare", "my_cell.py:broken", "--budget=2", "--workdir=w"]) == 2
    assert "fails a check: gradients match finite differences" in capsys.readouterr().err
    assert not (tiny / "w").exists()


def test_a_budget_in_hours_becomes_trials(tiny):
    studies = partial(battery.battery_studies, "rnn", "lstm", [])
    few = battery.trials_of_budget("0.0001h", studies, tiny)
    many = battery.trials_of_budget("1h", studies, tiny)
    assert few == 2  # compiling alone takes longer than this budget
    assert many > 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"budget": 0}, "budget: got '0', expected trials as 8, or hours as 1.5h"),
        ({"budget": "1.5"}, "expected a whole number of trials"),
        ({"tasks": ["ading_4"]}, "tasks: .*'ading_4'.*did you mean 'adding_4'"),
        ({"tasks": "ading_4"}, "tasks: .*'ading_4'.*did you mean 'adding_4'"),
        ({"tasks": "adding_4,ading_6"}, "tasks: .*'ading_6'.*did you mean 'adding_6'"),
        ({"against": "my_cell.py:same"}, "as cell and as baseline"),
    ],
)
def test_invalid_comparisons_are_rejected(tiny, flags, message):
    with pytest.raises(UserError, match=message):
        compare("my_cell.py:same", **flags)


def test_the_config_of_every_battery_task_is_valid():
    from lstm_lab.config.parsing import build_spec

    assert small_spec().task.name == "adding"
    for name, task in battery.named_tasks([*battery.TASKS, *battery.GROUPS]).items():
        spec = build_spec({**task.config})
        metrics = metric_directions(spec.task)
        assert task.test_metric in (None, *metrics), name


def test_a_group_is_its_tasks_and_not_part_of_the_default():
    group = battery.GROUPS["state_tracking"]
    assert list(battery.named_tasks(["state_tracking"])) == list(group)
    assert list(battery.named_tasks(["bucket_sort", "adding_50"])) == ["bucket_sort", "adding_50"]
    assert battery.named_tasks([]) == battery.TASKS
    assert not set(group) & set(battery.TASKS)
    studies, skipped = battery.battery_studies("gru", "lstm", ["parity_check"], 2, Path("nowhere"))
    assert (studies[0].name, studies[0].test_metric) == ("parity_check", "long_accuracy")
    assert skipped == []
    with pytest.raises(UserError, match="did you mean 'state_tracking'"):
        battery.named_tasks(["state_trackin"])
