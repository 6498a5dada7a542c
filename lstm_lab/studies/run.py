"""Trains a study in this process: plan, acquire cohorts, train, retry, give up.

`launch` is what every worker executes, on this machine or any other. Workers share nothing but the
study's folder: a worker takes cohorts that have no lease, and waits for those that others train.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from lstm_lab.config.ids import program_spec, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.results.lease import Lease, acquire_lease
from lstm_lab.results.looks import due_seeds
from lstm_lab.results.run_files import read_result
from lstm_lab.studies.archive import count_slots
from lstm_lab.studies.expand import PlannedRun, all_runs, final_runs, tuning_runs, variants
from lstm_lab.studies.failures import RETRIES, FailureLog
from lstm_lab.studies.folder import StudyFolder, choose_points, without_results
from lstm_lab.studies.optuna import lost_runs, next_generation
from lstm_lab.studies.plan import DevicePool, count_tokens, own_pool
from lstm_lab.studies.sequential import due_runs, record_look
from lstm_lab.studies.study import Search, Study
from lstm_lab.tasks import Dataset, Task
from lstm_lab.tasks.source import describe_source
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import CohortOutcome, StopRequest, train_cohort
from lstm_lab.training.notes import ignored_note, short_epoch_note
from lstm_lab.training.recorder import Status
from lstm_lab.training.session import LeaseLostError
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import EXHAUSTED
from lstm_lab.utils.progress import Meter, say

# So many cohorts that fail for one reason stop the sweep: the reason is the study or the machine,
# and hundreds of cohorts would fail in the same way.
SAME_REASON_LIMIT = 3
POLL_SECONDS = 0.5


class Attempt(Enum):
    """How an attempt to train a cohort ended."""

    COMPLETED = auto()
    INTERRUPTED = auto()
    BUSY = auto()  # another process holds its lease
    RETRY = auto()  # it failed and has retries left
    FAILED = auto()


class _Datasets(dict[Task, Dataset]):
    """Data sets by task, loaded at their first use: a study with all results needs none."""

    def __init__(self, data_dir: Path, stop: StopRequest) -> None:
        super().__init__()
        self.data_dir, self.stop = data_dir, stop

    def __missing__(self, task: Task) -> Dataset:
        # Loaded on first use: a study whose results are all there reads no data.
        with self.stop.ending_at_once():
            self[task] = task.load(self.data_dir)
        for line in describe_source(self[task]):
            say(line)
        return self[task]


@dataclass
class _Launch:
    """The state that all stages of a launch share.

    Attributes:
      folder, datasets, stop, overrides, results: as in `launch`.
      pool: the devices of this process.
      meter: the progress bar.
      counted: the folders of finished runs that the meter has counted.
      failures: for each reason, the cohorts that failed for it.
      compiled: the programs that this process has compiled, as `_program_of` names them.
    """

    folder: StudyFolder
    datasets: _Datasets
    stop: StopRequest
    overrides: dict[str, str] | None
    results: Path | None
    pool: DevicePool
    meter: Meter
    counted: set[Path] = field(default_factory=set)
    failures: dict[str, set[str]] = field(default_factory=dict)
    compiled: set[tuple[RunSpec, Layout]] = field(default_factory=set)

    def newly_done(self, cohort: Cohort) -> list[CohortRun]:
        """Returns the runs of a cohort that finished since the last call."""
        new = [run for run in cohort.runs if run.folder not in self.counted and run.done]
        self.counted |= {run.folder for run in new}
        return new

    @property
    def abort_reason(self) -> str | None:
        """The reason for which too many cohorts failed, or None."""
        return next(
            (reason for reason, ids in self.failures.items() if len(ids) >= SAME_REASON_LIMIT), None
        )


def launch(
    study: Study,
    workdir: Path,
    data_dir: Path,
    stop: StopRequest,
    overrides: dict[str, str] | None = None,
    results: Path | None = None,
) -> Status:
    """Trains all runs of a study that have no result and that no other process trains.

    First the tuning runs; then the best point of each variant is chosen on validation; then the
    final runs at these points, with looks in between if the study declares them. A second launch
    in the same folder resumes.

    Args:
      study: the study.
      workdir: the study's folder.
      data_dir: the folder of data sets.
      stop: requests an early end with a checkpoint.
      overrides: settings from the command line, for the record.
      results: an archive whose results replace training, or None.

    Returns:
      `completed`, `interrupted`, or `failed` if a run failed or all diverged. A diverged run is a
      result.

    Raises:
      UserError: for an impossible study, missing data, or a folder with other contents.
    """
    folder, datasets = StudyFolder(workdir, study), _Datasets(data_dir, stop)
    # Counting the steps loads the data, so missing data are reported before anything is written.
    finished = folder.finished_slots() | (Counter() if results is None else count_slots(results))
    declared = all_runs(study, due_seeds(folder.plan))
    unfinished = without_results(declared, finished)
    if not unfinished:
        _name_ignored(folder, declared)
    steps = sum(_count_steps(run, datasets) for run in unfinished)
    _name_short_epochs(unfinished, datasets)
    tuning_failed = False
    with Meter(steps) as meter:
        state = _Launch(folder, datasets, stop, overrides, results, own_pool(), meter)
        if study.tuning:
            status = _tune(state, study)
            if status == "interrupted" or state.abort_reason:
                return status
            tuning_failed = status == "failed"
            # Recorded before the final runs, so that a relaunch cannot choose other points.
            folder.record_choice(choose_points(folder))
        status = _train_final(state, study)
    if status == "completed" and _all_diverged(folder):
        say("all runs diverged: lower optim.lr; lstm-lab status names the steps")
        return "failed"
    # A variant without a tuned point would be compared at an arbitrary one, so it is left out.
    undecided = set(variants(study)) - set(folder.plan["chosen"])
    if study.tuning and study.seeds and undecided:
        say(f"no final runs, because a tuning run failed: {', '.join(sorted(undecided))}")
        tuning_failed = True
    return "failed" if tuning_failed and status == "completed" else status


def _name_ignored(folder: StudyFolder, runs: list[PlannedRun]) -> None:
    """Names settings without effect on a study whose runs all have a result."""
    # One run stands for all: they differ in no setting of `compute`, and have the same loggers.
    for run in runs:
        place = folder.run_folder(run_id(run.spec))
        if read_result(place) is not None:
            if line := ignored_note(CohortRun(run.spec, place)):
                say(line)
            return


def _name_short_epochs(runs: Iterable[PlannedRun], datasets: _Datasets) -> None:
    """Says once that the epochs of runs have one step each."""
    specs = (run.spec for run in runs)
    notes = (short_epoch_note(spec, datasets[spec.task].splits.get("train")) for spec in specs)
    if line := next(filter(None, notes), None):
        say(line)


def _all_diverged(folder: StudyFolder) -> bool:
    """Returns whether no run of the study has another result than a divergence."""
    # One after the other: the first that has not diverged answers, of thousands.
    for run in folder.plan["runs"]:
        result = read_result(folder.run_folder(run))
        if result is None or result["status"] != "diverged":
            return False
    return bool(folder.plan["runs"])


def _tune(state: _Launch, study: Study) -> Status:
    """Trains the tuning runs: all at once, or one generation of a search after another."""
    assert study.tuning is not None
    if not isinstance(study.tuning.trials, Search):
        return run_cohorts(state, tuning_runs(study))
    overall: Status = "completed"
    # Optuna asks for no trial that has been reported to it, whatever became of its results.
    runs = lost_runs(state.folder, study) or next_generation(state.folder, study)
    while runs:
        status = run_cohorts(state, runs)
        if status == "interrupted" or state.abort_reason:
            return status
        overall = "failed" if status == "failed" else overall
        # The search is told about failed runs too, or it would wait for their results.
        runs = next_generation(state.folder, study, [run_id(run.spec) for run in runs])
    return overall


def _train_final(state: _Launch, study: Study) -> Status:
    """Trains the final runs: all at once, or one group of seeds after another."""
    folder = state.folder
    if study.sequential is None:
        return run_cohorts(state, final_runs(study, folder.plan["chosen"]))
    while True:
        runs = due_runs(folder, study)
        status = run_cohorts(state, runs)
        # A look needs all its results, or the seeds that follow would depend on failures.
        if status != "completed" or len({run.variant for run in runs}) < len(variants(study)):
            return status
        if not record_look(folder, study):
            return status
        # The bar did not know of them.
        planned = folder.plan["runs"].keys()
        new = [run for run in due_runs(folder, study) if run_id(run.spec) not in planned]
        archived = Counter() if state.results is None else count_slots(state.results)
        unfinished = without_results(new, archived)
        state.meter.extend(sum(_count_steps(run, state.datasets) for run in unfinished))


def run_cohorts(state: _Launch, runs: list[PlannedRun]) -> Status:
    """Plans runs and works on their cohorts until all are done, here or in another process."""
    cohorts = state.folder.plan_runs(
        runs,
        state.pool,
        lambda spec: count_tokens(spec, state.datasets[spec.task]),
        state.results,
    )
    for _, cohort in cohorts:
        state.newly_done(cohort)
    left, failed = dict(enumerate(cohorts)), False
    while left:
        all_busy = True
        # A new list, since finished cohorts are removed inside the loop. First those whose program
        # is there: with several processes, each would otherwise compile most programs.
        for k, (name, cohort) in sorted(
            left.items(), key=lambda item: _program_of(item[1][1]) not in state.compiled
        ):
            if state.stop.requested:
                return "interrupted"
            attempt = _attempt(state, name, cohort)
            if attempt is Attempt.BUSY:
                continue
            all_busy = False
            if attempt is Attempt.INTERRUPTED:
                return "interrupted"
            if state.abort_reason:
                say(
                    f"stopped: {SAME_REASON_LIMIT} cohorts failed for the same reason: "
                    f"{state.abort_reason}"
                )
                return "failed"
            if attempt is Attempt.RETRY:
                # Its turn comes again after the other cohorts, perhaps with fewer lanes.
                left[k] = (name, state.folder.with_planned_layout(cohort, state.pool.devices))
                continue
            del left[k]
            failed = failed or attempt is Attempt.FAILED
        if left and all_busy:
            # The other processes may die; then their leases expire and this one takes over.
            time.sleep(POLL_SECONDS)
    return "failed" if failed else "completed"


def _attempt(state: _Launch, name: str, cohort: Cohort) -> Attempt:
    """Trains a cohort once, unless it is done, out of retries, or leased to another process."""
    # Runs that other processes finished are skipped on the bar, not counted as this one's speed.
    state.meter.skip(sum(_count_steps(run, state.datasets) for run in state.newly_done(cohort)))
    # Without a lease: reading results needs none.
    if all(run.folder in state.counted for run in cohort.runs):
        return Attempt.COMPLETED
    cohort_folder = cohort.checkpoints.parent
    log = FailureLog(cohort_folder)
    if log.exhausted():
        return Attempt.FAILED
    with acquire_lease(cohort_folder) as lease:
        if lease is None:
            return Attempt.BUSY
        try:
            outcome, trace = _train(state, name, cohort, lease)
        except LeaseLostError:
            say(f"{name}: another process took it over")
            return Attempt.BUSY
        state.newly_done(cohort)
        if outcome.status == "completed":
            # The results are on disk, and a checkpoint of all lanes may be large.
            Checkpoints(cohort.checkpoints).clear()
            return Attempt.COMPLETED
        if outcome.status not in RETRIES:
            return Attempt.INTERRUPTED
        log.add(outcome.status, outcome.reason, trace)
        if outcome.status == "out_of_memory":
            # Says nothing about other cohorts: it is not counted among the reasons to abort.
            state.folder.halve_lanes(cohort)
        else:
            state.failures.setdefault(outcome.reason, set()).add(cohort_folder.name)
    return Attempt.FAILED if log.exhausted() else Attempt.RETRY


def _train(state: _Launch, name: str, cohort: Cohort, lease: Lease) -> tuple[CohortOutcome, str]:
    """Trains a cohort; returns its outcome, and the traceback if it raised an error.

    An error fails this cohort only, so that one bad variant does not end a sweep of many.
    """
    state.compiled.add(_program_of(cohort))
    try:
        outcome = train_cohort(
            cohort,
            state.datasets[cohort.runs[0].spec.task],
            stop=state.stop,
            overrides=state.overrides,
            meter=state.meter,
            name=f"{name} ",
            owns_lease=lease.owns_lease,
        )
    # These are no failures of the cohort: the user, or the new owner, has to act. The same holds
    # for a file of the study that cannot be written, as where a folder has its name.
    except (UserError, LeaseLostError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and (
            error.errno in EXHAUSTED or _is_inside(error.filename, state.folder.folder)
        ):
            raise
        # One line, since equal reasons are counted; the traceback goes to the log.
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        say(f"{name} failed: {reason}")
        return CohortOutcome("failed", reason), traceback.format_exc()
    return outcome, ""


def _program_of(cohort: Cohort) -> tuple[RunSpec, Layout]:
    """Returns what is equal for cohorts that one compiled program trains."""
    return program_spec(cohort.layout.widen(cohort.runs[0].spec)), cohort.layout


def _is_inside(path: object, folder: Path) -> bool:
    """Returns whether the path in an error, if there is one, leads into a folder."""
    return isinstance(path, str) and Path(path).absolute().is_relative_to(folder.absolute())


def _count_steps(run: PlannedRun | CohortRun, datasets: _Datasets) -> int:
    return run.spec.schedule_steps(datasets[run.spec.task].splits.get("train"))[0]
