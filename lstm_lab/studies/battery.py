"""The battery of `lstm-lab compare`: small tasks on which a new cell is compared with a baseline.

Every task becomes a study of two variants with matched parameters, the same tuning budget and fresh
final seeds. The tasks cover long memory (adding, copying), classification, language and music, and
each trains in minutes on two CPU cores. GROUPS has more tasks, such as those that need a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.config.parsing import build_spec
from lstm_lab.studies.axes import LogUniform, grid
from lstm_lab.studies.dry_run import estimate_seconds
from lstm_lab.studies.study import Study, Trials, Tuning
from lstm_lab.utils.errors import UserError, unknown

TUNING_SEED = 0
# The same seeds for both cells, so that their runs form pairs.
FINAL_SEEDS = (100, 101, 102, 103, 104)


@dataclass(frozen=True)
class BatteryTask:
    """A task of the battery.

    Attributes:
      config: the config of its runs; the study sets the cell.
      lr: the range of learning rates that tuning draws from.
      test_metric: the test metric that is compared, as in `Study`.
    """

    config: dict[str, dict[str, object]]
    lr: tuple[float, float] = (1e-3, 3e-2)
    test_metric: str | None = None


def _adding(length: int) -> BatteryTask:
    return BatteryTask(
        {
            "task": {"name": "adding", "length": length},
            "model": {"hidden": 32},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 100},
        }
    )


def _copy(delay: int) -> BatteryTask:
    return BatteryTask(
        {
            "task": {"name": "copy_memory", "delay": delay},
            "model": {"hidden": 48},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 100},
        }
    )


def _tracking(test_metric: str, **task: object) -> BatteryTask:
    """Returns a task that needs a state: trained on short sequences, tested on far longer ones."""
    return BatteryTask(
        {
            "task": task,
            "model": {"hidden": 64},
            "optim": {"name": "adam", "clip": 1.0, "schedule": "cosine"},
            "train": {"batch_size": 32, "steps": 5000, "eval_every": 500, "metric": "nll"},
        },
        test_metric=test_metric,
    )


# Two lengths of each memory task: a cell that fails only on the longer one forgets too early.
TASKS = {
    "adding_50": _adding(50),
    "adding_150": _adding(150),
    "copy_10": _copy(10),
    "copy_60": _copy(60),
    "digits": BatteryTask(
        {
            "task": {"name": "digits", "pixels_per_step": 2},
            "model": {"hidden": 48},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "epochs": 20},
        }
    ),
    "characters": BatteryTask(
        {
            "task": {
                "name": "language",
                "train": "tinyshakespeare/input.txt",
                "unit": "character",
                "vocabulary": 66,
                "unroll": 50,
                "eval_tracks": 50,
            },
            "model": {"hidden": 64},
            "optim": {"name": "adam", "clip": 5.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 300},
        }
    ),
    "jsb": BatteryTask(
        {
            "task": {"name": "jsb"},
            "model": {"hidden": 64},
            "optim": {"name": "adam", "clip": 5.0},
            "train": {
                "batch_size": 16,
                "epochs": 60,
                "patience": 10,
                "loss_reduction": "sum_time_mean_batch",
            },
        }
    ),
}

# Tasks that are chosen by the name of their group, and not part of the default battery.
GROUPS = {
    "state_tracking": {
        **{
            problem: _tracking("long_accuracy", name="chomsky", problem=problem, test_per_length=4)
            for problem in (
                *("parity_check", "modular_arithmetic", "cycle_navigation"),
                *("reverse_string", "bucket_sort"),
            )
        },
        "word_problem": _tracking(
            "accuracy", name="word_problem", group="A4", length=20, test_length=100
        ),
        "counter_language": _tracking(
            "first_failing_n", name="counter_language", max_n=20, test_n=200
        ),
        "mqar": _tracking(
            "accuracy", name="mqar", length=16, pairs=2, vocabulary=16, test_length=32
        ),
        "selective_copy": _tracking(
            "accuracy", name="selective_copy", length=32, symbols=4, test_length=64
        ),
    },
}


def named_tasks(names: Sequence[str]) -> dict[str, BatteryTask]:
    """Returns the tasks of some names, in their order.

    Args:
      names: names of TASKS, of GROUPS, and of tasks in a group; an empty list takes all of TASKS.

    Raises:
      UserError: for an unknown name.
    """
    grouped = {name: task for group in GROUPS.values() for name, task in group.items()}
    known = {**TASKS, **grouped}
    chosen: dict[str, BatteryTask] = {}
    for name in names or TASKS:
        if name not in known and name not in GROUPS:
            raise unknown("tasks", name, [*known, *GROUPS])
        chosen |= GROUPS.get(name) or {name: known[name]}
    return chosen


def battery_studies(
    cell: str, baseline: str, names: Sequence[str], trials: int, data_dir: Path
) -> tuple[list[Study], list[str]]:
    """Returns one study per task of the battery.

    Args:
      cell: a variant, or FILE.py:NAME.
      baseline: the variant to compare it with.
      names: as in `named_tasks`; an empty list takes all tasks whose data are available.
      trials: the number of random learning rates per variant and task; both variants get the same.
      data_dir: the folder of data sets.

    Returns:
      The studies, and one line per skipped task with the reason.

    Raises:
      UserError: for an unknown task, or a named task whose data are missing.
    """
    if cell == baseline:
        raise UserError(f"compare: got {cell!r} as cell and as baseline, expected two variants")
    studies, skipped = [], []
    for name, task in named_tasks(names).items():
        try:
            build_spec({**task.config}).task.load(data_dir)
        except UserError as error:
            if names:
                raise
            skipped.append(f"{name}: {error}")
            continue
        studies.append(_study(name, task, cell, baseline, trials))
    return studies, skipped


def trials_of_budget(
    budget: str,
    studies: Callable[[int, Path], tuple[list[Study], list[str]]],
    data_dir: Path,
) -> int:
    """Returns the number of trials that a budget allows each cell on each task.

    Args:
      budget: trials as "8", or hours for everything as "1.5h". Hours allow at least two trials:
        with one, tuning has nothing to choose from.
      studies: `battery_studies` of a number of trials and the data folder.
      data_dir: the folder of data sets.

    Raises:
      UserError: for a budget of another form.
    """
    number = budget.removesuffix("h")
    if not number.replace(".", "", 1).isdigit() or float(number) <= 0:
        raise UserError(f"budget: got {budget!r}, expected trials as 8, or hours as 1.5h")
    if number == budget:
        if not number.isdigit():
            raise UserError(f"budget: got {budget!r}, expected a whole number of trials")
        return int(number)
    # All trials cost about the same, and the cost of final runs and compiling does not depend on
    # their number. The time is therefore linear in this number, and two estimates give the line.
    one, two = (
        sum(estimate_seconds(study, data_dir) for study in studies(n, data_dir)[0]) for n in (1, 2)
    )
    return max(2, int((3600 * float(number) - one) / (two - one)) + 1)


def _study(name: str, task: BatteryTask, cell: str, baseline: str, trials: int) -> Study:
    learning_rates = {"optim.lr": LogUniform(*task.lr)}
    return Study(
        name=name,
        base=task.config,
        axes=(grid("model.cell", (baseline, cell)),),
        seeds=FINAL_SEEDS,
        baseline=baseline,
        test_metric=task.test_metric,
        match="params",
        tuning=Tuning(seeds=(TUNING_SEED,), trials=Trials(trials, learning_rates)),
    )
