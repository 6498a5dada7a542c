"""The training loop: it only sequences.

`session.py` keeps the lanes, `step.py` computes, `recorder.py` writes. Here: signals, progress, and
what becomes of a cohort. `train_run` trains one run; `studies/run.py` trains the cohorts of a
study.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import jax
import numpy as np

from lstm_lab.config.ids import redefinitions, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.results.intact import TRAIN_AGAIN, problems
from lstm_lab.results.lease import STALE_SECONDS, Lease, acquire_lease, current_owner
from lstm_lab.results.run_files import lease_folder, read_result, read_settings
from lstm_lab.tasks import Dataset
from lstm_lab.tasks.source import describe_source
from lstm_lab.training import multihost
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import (
    Layout,
    fit_layout,
    idle_devices,
    run_layout,
    usable_devices,
)
from lstm_lab.training.notes import ignored_note, short_epoch_note
from lstm_lab.training.recorder import Status
from lstm_lab.training.session import LeaseLostError, Session
from lstm_lab.utils.errors import AGAIN, Interrupted, UserError
from lstm_lab.utils.files import check_workdir, differences, flatten
from lstm_lab.utils.progress import Meter, say
from lstm_lab.utils.types import JSON

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class CohortOutcome:
    """How a cohort's training ended: its status, and the reason of a failure."""

    status: Status
    reason: str = ""


class StopRequest:
    """Whether a signal asked to stop.

    Attributes:
      requested: whether it did.
      at_once: whether a signal raises Interrupted instead: nothing is lost, as while data are read.
    """

    requested = False
    at_once = False

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """Gives a block that a signal interrupts.

        Raises:
          Interrupted: after a signal.
        """
        # With several hosts, one that stopped alone would leave the others waiting.
        self.at_once = multihost.count() == 1
        try:
            yield
        finally:
            self.at_once = False


@contextmanager
def stopping_on_signals() -> Iterator[StopRequest]:
    """Turns signals into a request to stop after the current compiled call (see pace.py).

    SIGINT, SIGTERM, SIGHUP of a terminal that closes, and SIGUSR1 and SIGUSR2, which SLURM sends
    before it ends a job. What the caller ignores stays ignored, such as SIGHUP under `nohup`.
    """
    # A flag and no exception: an exception in the middle of a call would lose the chunk.
    stop = StopRequest()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.at_once:
            raise Interrupted(AGAIN)
        # A second Ctrl-C does not wait for the call.
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True

    # Python handles signals in its main thread only. In another one, such as a server's worker, the
    # caller has to stop the run.
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    earlier = {
        number: signal.signal(number, request)
        for number in STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def train_cohort(
    cohort: Cohort,
    dataset: Dataset,
    *,
    stop: StopRequest,
    overrides: dict[str, str] | None = None,
    meter: Meter | None = None,
    name: str = "",
    owns_lease: Callable[[], bool] = lambda: True,
) -> CohortOutcome:
    """Trains a cohort to its end, from its checkpoint if there is one.

    Args:
      cohort: the runs; those with a result are left out.
      dataset: the task's data.
      stop: asks to end early, with a checkpoint.
      overrides: settings from the command line, for the record.
      meter: shows the progress, in optimizer steps of all runs.
      name: the name of the cohort on the meter, followed by a space; or nothing.
      owns_lease: whether the cohort still belongs to this process.

    Returns:
      How it ended. A run that diverged is completed work: its result says so.

    Raises:
      LeaseLostError: if another process has taken the cohort over.
    """
    if multihost.broadcast_from_host0(lambda: all(run.done for run in cohort.runs)):
        return CohortOutcome("completed")
    session = Session(cohort, dataset, overrides or {}, owns_lease)
    try:
        _train(session, len(cohort.runs), stop, meter, name)
        if not session.lanes.running:
            return CohortOutcome("completed")
        # Save first: a second signal during `abandon` must not cost the checkpoint.
        session.save()
        session.abandon("interrupted")
        return CohortOutcome("interrupted")
    except LeaseLostError:
        session.release()
        raise
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        # Out of memory is a class of its own: a sweep tries again with fewer lanes.
        status: Status = "out_of_memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
        session.abandon(status, reason)
        say(f"{name}{status}: {reason}")
        return CohortOutcome(status, reason)
    except BaseException as error:
        # On a full disk this fails as well; the first error is the one to report.
        with suppress(OSError):
            stopped = isinstance(error, KeyboardInterrupt)
            reason = "" if stopped else f"{type(error).__name__}: {error}"
            session.abandon("interrupted" if stopped else "failed", reason)
        raise


def _train(
    session: Session, members: int, stop: StopRequest, meter: Meter | None, name: str
) -> None:
    """Runs compiled calls until all runs have ended, or a stop is requested on any host."""

    def show(steps: int, text: str) -> None:
        if meter is not None:
            meter.advance(steps, name + text)

    session.open()
    if multihost.is_primary() and (line := _resuming(session, members)):
        say(f"{name}{line}")
    if meter is not None:
        meter.skip(session.steps_done)
    session.finalize_restored()
    session.assign_waiting()
    show(0, "compiling")
    if session.lanes.running:
        session.compile()
    first = True
    while session.lanes.running and not multihost.any_of(stop.requested):
        session.assign_waiting()
        steps = session.run_chunk()
        # The first call is short and slow; it would predict hours for minutes.
        if first and meter is not None:
            meter.warm_up(steps)
            steps = 0
        first = False
        ended = members - len(session.lanes.waiting) - len(session.lanes.active)
        runs = f"{ended}/{members} runs, " if members > 1 else ""
        show(steps, f"{runs}step {session.farthest}/{session.total}")


def _resuming(session: Session, members: int) -> str | None:
    """Returns where a cohort continues, in one line for all its runs; None for its first start."""
    if active := len(session.lanes.active):
        step = f"step {session.farthest} of {session.total}"
        if members == 1:
            return f"resumes at {step}"
        return f"resumes {active} of {members} runs, the farthest at {step}"
    # A run that has begun has a record. Damaged checkpoints and records were named already.
    begun = any(read_settings(run.folder) is not None for run in session.lanes.waiting)
    return "no checkpoint yet: starts again at step 0" if begun and not session.saves else None


def train_run(
    spec: RunSpec,
    folder: Path,
    data_dir: Path,
    *,
    stop: StopRequest,
    overrides: dict[str, str] | None = None,
) -> CohortOutcome:
    """Trains one run, as a cohort of one, in a folder that is empty or holds the same run.

    With several hosts, the first one keeps the folder; the others need not see it.

    Args:
      spec: the run.
      folder: WORKDIR.
      data_dir: folder of the data sets, on every host.
      stop: asks to end early, with a checkpoint; on any host.
      overrides: settings from the command line, for the record.

    Returns:
      How it ended.

    Raises:
      UserError: if the folder holds something else.
    """
    # Different runs or data on two hosts would train a mixture without any error.
    multihost.check_alike("runs", run_id(spec))
    # Before the data are loaded: a wrong folder is reported at once.
    head = multihost.broadcast_from_host0(partial(_read_head, spec, folder))
    with stop.ending_at_once():
        dataset = spec.task.load(data_dir)
    if multihost.count() > 1:
        multihost.check_alike("data sets", _digest(dataset))
    if multihost.is_primary():
        for line in describe_source(dataset):
            say(line)
        _describe_start(CohortRun(spec, folder), dataset)
    layout = layout_of(spec, head)
    steps, _ = spec.schedule_steps(dataset.splits.get("train"))
    with (
        multihost.host_workdir(folder) as workdir,
        _holding_folder(CohortRun(spec, workdir)) as owns_lease,
        Meter(steps) as meter,
    ):
        cohort = Cohort((CohortRun(spec, workdir),), layout, workdir / "checkpoints" / "latest")
        # One progress bar for all hosts.
        shown = meter if multihost.is_primary() else None
        try:
            return train_cohort(
                cohort,
                dataset,
                stop=stop,
                overrides=overrides,
                meter=shown,
                owns_lease=owns_lease,
            )
        except LeaseLostError:
            raise UserError(f"workdir: {folder}: another process took it over") from None


@contextmanager
def _holding_folder(run: CohortRun) -> Iterator[Callable[[], bool]]:
    """Holds the lease on a run's folder; gives a function that says whether it still holds.

    Raises:
      UserError: on every host, if another process trains the run.
    """
    with ExitStack() as stack:
        lease: Lease | None = None

        def acquire() -> None:
            nonlocal lease
            # A finished run is only read, perhaps from a folder that nobody may write to.
            if run.done:
                return
            lease = stack.enter_context(acquire_lease(lease_folder(run.folder)))
            if lease is None:
                owner = current_owner(lease_folder(run.folder)) or {}
                if owner.get("pid") == "unknown":
                    path = lease_folder(run.folder) / owner["file"]
                    raise UserError(
                        f"workdir: {path} is damaged: a process may train this run; if none does, "
                        f"the same command works {STALE_SECONDS:.0f} s after the damage"
                    )
                raise UserError(
                    f"workdir: {run.folder}: process {owner.get('pid', '?')} on "
                    f"{owner.get('host', '?')} trains this run; wait for its end, or choose "
                    "another folder"
                )

        multihost.broadcast_from_host0(acquire)
        # With several hosts, one that stopped alone would leave the others waiting.
        watched = lease if multihost.count() == 1 else None
        yield (lambda: True) if watched is None else watched.owns_lease


def _describe_start(run: CohortRun, dataset: Dataset) -> None:
    """Says that a run has few steps; of a finished one, what is ignored, and damaged files.

    The result of a finished run counts, also with damaged files.
    """
    result = read_result(run.folder) if run.done else None
    if result is None:
        notes = [short_epoch_note(run.spec, dataset.splits.get("train"))]
    else:
        notes = [ignored_note(run), *(f"note: {line}" for line in problems(run.folder, result))]
    for note in filter(None, notes):
        say(note)


def _digest(dataset: Dataset) -> str:
    """Returns a hash of a data set's arrays."""
    digest = hashlib.sha256()
    for array in jax.tree.leaves(dataset.splits):
        # Bytes, so that NaN equals NaN.
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read_head(spec: RunSpec, folder: Path) -> dict[str, JSON] | None:
    """Returns the run.json of a folder, or None; raises UserError if it is of another run."""
    check_workdir(folder, "run.json")
    head = read_settings(folder)
    if head is None and (folder / "run.json").is_file():
        # Not written again from the settings: it also says what made the result.
        if CohortRun(spec, folder).done:
            raise UserError(f"workdir: {folder / 'run.json'} is damaged; {TRAIN_AGAIN}")
        say(f"note: {folder / 'run.json'} is damaged: the run starts again")
    if head is not None and head["id"] != run_id(spec):
        raise UserError(f"workdir: {folder} holds another run; {_difference(spec, head)}")
    return head


def _difference(spec: RunSpec, head: dict[str, JSON]) -> str:
    """Returns in what a run differs from the one of a run.json."""
    # First: the two runs may have different noise, say, because only one of them has a dropout.
    # Settings that did not exist when the record was written have their defaults in it.
    recorded = flatten(head["spec"])
    now = {name: value for name, value in flatten(to_json(spec)).items() if name in recorded}
    if different := differences(recorded, now):
        return f"it differs in {different}; choose another folder"
    names = ", ".join(redefinitions(spec))
    return f"since then {names} came to mean something else; choose another folder"


def layout_of(spec: RunSpec, head: dict[str, JSON] | None) -> Layout:
    """Returns the layout that a run began with, or a new one.

    Args:
      spec: the run.
      head: its run.json, or None.

    Raises:
      UserError: for a batch that several hosts, or `compute.devices`, cannot split.
    """
    hosts = multihost.count()
    devices = usable_devices(spec, jax.device_count(), hosts)  # of all hosts
    size = spec.train.batch_size
    if head is None:
        layout = run_layout(spec, devices, hosts)
        if idle := idle_devices(layout, size, devices):
            say(idle)
        return layout
    return fit_layout(Layout(**head["layout"]), size, devices, hosts)
