"""The loop: it only sequences; step.py computes, session.py keeps the lanes, record.py writes."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.config.ids import run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Dataset
from lstm_lab.train import multihost
from lstm_lab.train.layout import Layout, choose_layout, fit_layout
from lstm_lab.train.recorder import Status
from lstm_lab.train.session import Cohort, Run, Session, TakenOverError
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import check_workdir, read_json
from lstm_lab.utils.progress import Meter, say


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
    held: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Trains a cohort to its end, from its checkpoint where there is one.

    Args:
      cohort: the runs; those with a result idle.
      dataset: the task's data.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.
      meter: shows how far it is, in steps of members.
      name: what the meter calls the cohort, with a space behind, or nothing.
      held: whether the cohort is still this process's.

    Returns:
      What became of it. A member that diverged has a result that says so.

    Raises:
      TakenOverError: where another process has taken the cohort over.
    """
    if multihost.broadcast_from_host0(lambda: all(run.done for run in cohort.runs)):
        return Outcome("completed")
    session = Session(cohort, dataset, overrides or {}, held)
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
        while session.running and not multihost.any_of(stop.requested):
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
    except TakenOverError:
        session.leave()
        raise
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

    Of several hosts the first keeps the folder; no other needs to see it.

    Args:
      spec: the run.
      folder: WORKDIR.
      data_dir: where data sets are, on every host.
      stop: asks to end early, with a checkpoint; on any host.
      overrides: settings given on the command line, for the record.

    Returns:
      What became of it.

    Raises:
      UserError: for a folder that holds something else.
    """
    multihost.check_alike("runs", run_id(spec))
    head = multihost.broadcast_from_host0(partial(_head, spec, folder))
    dataset = spec.task.load(data_dir)
    if multihost.count() > 1:
        multihost.check_alike("data sets", _digest(dataset))
    layout = _layout(spec, head)
    steps, _ = spec.schedule_steps(dataset.splits.get("train"))
    with multihost.host_workdir(folder) as own, Meter(steps) as meter:
        cohort = Cohort((Run(spec, own),), layout, own / "checkpoints" / "latest")
        shown = meter if multihost.is_primary() else None
        return train_cohort(cohort, dataset, stop=stop, overrides=overrides, meter=shown)


def _digest(dataset: Dataset) -> str:
    """Returns a hash of a data set's arrays."""
    found = hashlib.sha256()
    for array in jax.tree.leaves(dataset.splits):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _head(spec: RunSpec, folder: Path) -> Any:
    """Returns the run.json that a folder has, or None."""
    check_workdir(folder, "run.json")
    head = read_json(folder / "run.json")
    if head is not None and head["id"] != run_id(spec):
        raise UserError(
            f"--workdir: {folder} holds run {head['id']} of another spec, this one is "
            f"{run_id(spec)}; choose another folder"
        )
    return head


def _layout(spec: RunSpec, head: Any) -> Layout:
    """Returns the layout that a run began with, or a new one."""
    most = jax.device_count()  # of all hosts
    if multihost.count() > 1 and spec.compute.devices is not None:
        raise UserError(
            f"compute.devices: found {spec.compute.devices}, allowed none for a run over several "
            "hosts, which takes all"
        )
    devices = min(spec.compute.devices or most, most)
    size = spec.train.batch_size
    if head is None:
        return choose_layout(1, size, devices, multihost.count())
    return fit_layout(Layout(**head["layout"]), size, devices, multihost.count())
