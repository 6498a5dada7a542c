"""The loop: it only sequences; step.py computes, session.py keeps the lanes, record.py writes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from lstm_lab.config import RunSpec
from lstm_lab.errors import UserError
from lstm_lab.files import check_workdir, read_json
from lstm_lab.identity import run_id
from lstm_lab.progress import Meter, say
from lstm_lab.tasks import Dataset
from lstm_lab.train.parallel import Layout, choose_layout, fit_layout
from lstm_lab.train.record import Status
from lstm_lab.train.session import Cohort, Run, Session


@dataclass(frozen=True)
class Outcome:
    """What became of a cohort: its status, and what went wrong."""

    status: Status
    reason: str = ""


class Stop:
    """Whether a signal has asked to stop."""

    requested = False


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Turns a signal into a request to stop after the compiled call under way.

    SIGINT and SIGTERM, and what SLURM sends before it ends a job.
    """
    stop = Stop()

    def request(number: int, frame: Any) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train_cohort(
    cohort: Cohort,
    dataset: Dataset,
    *,
    stop: Stop,
    overrides: dict[str, str] | None = None,
    meter: Meter | None = None,
    name: str = "",
) -> Outcome:
    """Trains a cohort to its end, from its checkpoint where there is one.

    Args:
      cohort: the runs; those with a result idle.
      dataset: the task's data.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.
      meter: shows how far it is, in steps of members.
      name: what the meter calls the cohort, with a space behind, or nothing.

    Returns:
      What became of it. A member that diverged has a result that says so.
    """
    if all(run.done for run in cohort.runs):
        return Outcome("completed")
    session = Session(cohort, dataset, overrides or {})
    members = len(cohort.runs)

    def show(steps: int, text: str) -> None:
        if meter is not None:
            meter.advance(steps, name + text)

    try:
        if meter is not None:
            meter.skip(session.steps_done)
        session.settle()
        session.fill()
        show(0, "compiling")
        if session.running:
            session.compile()
        while session.running and not stop.requested:
            session.fill()
            steps = session.call()
            ended = members - len(session.waiting) - len(session.seats)
            at = max((seat.step for seat in session.seats.values()), default=session.total)
            many = f"{ended}/{members} runs, " if members > 1 else ""
            show(steps, f"{many}step {at}/{session.total}")
        if session.running:
            session.save()
            session.abandon("interrupted")
            return Outcome("interrupted")
        return Outcome("completed")
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        status: Status = "out_of_memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
        session.abandon(status, reason)
        say(f"{name}{status}: {reason}")
        return Outcome(status, reason)
    except BaseException as error:
        session.abandon("failed", f"{type(error).__name__}: {error}")
        raise


def train_run(
    spec: RunSpec,
    folder: Path,
    data_dir: Path,
    *,
    stop: Stop,
    overrides: dict[str, str] | None = None,
) -> Outcome:
    """Trains one run, a cohort of its own, in a folder that is empty or holds the same run.

    Args:
      spec: the run.
      folder: WORKDIR.
      data_dir: where data sets are.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.

    Returns:
      What became of it.

    Raises:
      UserError: for a folder that holds something else.
    """
    check_workdir(folder, "run.json")
    head = read_json(folder / "run.json")
    if head is not None and head["id"] != run_id(spec):
        raise UserError(
            f"--workdir: {folder} holds run {head['id']} of another spec, this one is "
            f"{run_id(spec)}; choose another folder"
        )
    dataset = spec.task.load(data_dir)
    devices = min(spec.compute.devices or jax.local_device_count(), jax.local_device_count())
    layout = (
        choose_layout(1, spec.train.batch_size, devices)
        if head is None
        else fit_layout(Layout(**head["layout"]), spec.train.batch_size, devices)
    )
    cohort = Cohort((Run(spec, folder),), layout, folder / "checkpoints" / "latest")
    train = dataset.splits.get("train")
    steps, _ = spec.schedule_steps(None if train is None else len(train.x))
    with Meter(steps) as meter:
        return train_cohort(cohort, dataset, stop=stop, overrides=overrides, meter=meter)
