"""Lines that a run prints at its start: what of the command has no effect, or hardly trains.

In: a run with the settings of the command, and its data. Out: a line, or None. None of this is an
error, but the user would wait for files that never come, or judge a model that saw three batches.
"""

from __future__ import annotations

from dataclasses import asdict

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ComputeSpec
from lstm_lab.results.run_files import read_settings
from lstm_lab.tasks import Split, Stream
from lstm_lab.training.lanes import CohortRun
from lstm_lab.training.loggers.choose import chosen_loggers

# So many steps may train a small model, also with all examples in each of them.
_FEW_STEPS = 100


def ignored_note(run: CohortRun) -> str | None:
    """Returns a line on settings and loggers that a finished run was trained without, or None.

    Args:
      run: a run with a result, and the settings that are asked for now.

    Example:
      ignored_note(run)  # "note: runs/first is finished, so compute.gates has no effect; ..."
    """
    # Without its record, as in an archive, nobody knows what it was trained with.
    record = read_settings(run.folder)
    if record is None:
        return None
    before, default = record["spec"].get("compute", {}), asdict(ComputeSpec())
    names = [
        f"compute.{name}"
        for name, value in asdict(run.spec.compute).items()
        # A default asks for nothing.
        if value not in (before.get(name, default[name]), default[name])
    ]
    if set(chosen_loggers().makers) - set(record.get("loggers", {})):
        names.append("log")
    if not names:
        return None
    have = "has" if len(names) == 1 else "have"
    return (
        f"note: {run.folder} is finished, so {', '.join(names)} {have} no effect; another folder "
        "(workdir) trains it again"
    )


def short_epoch_note(spec: RunSpec, train: Split | None) -> str | None:
    """Returns a line on a run whose epochs have one step each, and too few of them; or None.

    Args:
      spec: the run.
      train: its training split; None for a task that generates its training data.

    Example:
      short_epoch_note(spec, train)  # "note: 48 examples make 1 step per epoch, 6 in all; ..."
    """
    if train is None or not spec.train.epochs:
        return None
    total, _ = spec.schedule_steps(train)
    # Equal numbers: each epoch is one step.
    if total != spec.train.epochs or total >= _FEW_STEPS:
        return None
    what = "the training text makes" if isinstance(train, Stream) else f"{train.rows} examples make"
    return f"note: {what} 1 step per epoch, {total} in all; set train.batch_size or train.epochs"
