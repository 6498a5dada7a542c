"""Works through a study in this process: claims cohorts, trains them, retries, gives up."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import jax

from lstm_lab.config.ids import run_id
from lstm_lab.results.lease import Claim, claimed
from lstm_lab.sweep.archive import place, places
from lstm_lab.sweep.folder import Failures, StudyFolder, choose_points, row_of
from lstm_lab.sweep.optuna import next_generation
from lstm_lab.sweep.plan import tokens_read
from lstm_lab.sweep.study import PlannedRun, Search, Study, final_runs, tuning_runs, variants
from lstm_lab.tasks import Dataset, Task
from lstm_lab.train.checkpoint import Checkpoints
from lstm_lab.train.lanes import Cohort, CohortRun
from lstm_lab.train.loop import CohortOutcome, StopRequest, train_cohort
from lstm_lab.train.recorder import Status
from lstm_lab.train.session import LeaseLostError
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import Meter, say

# How often a cohort is tried again after each class of failure.
RETRIES = {"out_of_memory": 3, "failed": 1}
# So many cohorts with one reason stop the sweep: the next would fail alike.
ALIKE = 3
POLL_SECONDS = 0.5


class _Datasets(dict[Task, Dataset]):
    """Data sets by task, loaded when they are first asked for."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self.data_dir = data_dir

    def __missing__(self, task: Task) -> Dataset:
        self[task] = task.load(self.data_dir)
        return self[task]


@dataclass
class _Work:
    """What all stages of a launch share."""

    folder: StudyFolder
    datasets: _Datasets
    stop: StopRequest
    overrides: dict[str, str] | None
    results: Path | None
    devices: int
    meter: Meter
    counted: set[Path] = field(default_factory=set)  # runs that are done, and that the meter knows
    failures: dict[str, set[str]] = field(default_factory=dict)  # reasons, and whose they were

    def newly_done(self, cohort: Cohort) -> list[CohortRun]:
        """Returns the runs of a cohort that are done since this was asked before."""
        new = [run for run in cohort.runs if run.folder not in self.counted and run.done]
        self.counted |= {run.folder for run in new}
        return new

    @property
    def hopeless(self) -> str | None:
        """The reason for which so many cohorts failed that the next would too, or None."""
        return next((why for why, whose in self.failures.items() if len(whose) >= ALIKE), None)


def launch(
    study: Study,
    workdir: Path,
    data_dir: Path,
    stop: StopRequest,
    overrides: dict[str, str] | None = None,
    results: Path | None = None,
) -> Status:
    """Runs what is missing of a study and nobody else works on.

    Args:
      study: the study.
      workdir: its folder.
      data_dir: where data sets are.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.
      results: an archive of runs that need not be trained again, or None.

    Returns:
      `completed`, `interrupted`, or `failed` where a run failed; a diverged run is a result.
    """
    devices = jax.local_device_count()
    folder, datasets = StudyFolder(workdir, study), _Datasets(data_dir)
    # Data that is missing is found before anything is written; none is needed for known results.
    steps = sum(_steps(run, datasets) for run in _unknown(study, folder, results))
    failed = False
    with Meter(steps) as meter:
        work = _Work(folder, datasets, stop, overrides, results, devices, meter)
        if study.tuning:
            outcome = _tune(work, study)
            if outcome == "interrupted" or work.hopeless:
                return outcome
            failed = outcome == "failed"
            folder.choose(choose_points(folder))
        outcome = _work_through(work, final_runs(study, folder.plan["chosen"]))
    undecided = set(variants(study)) - set(folder.plan["chosen"])
    if study.tuning and study.seeds and undecided:
        say(f"not tuned, since a run failed: {', '.join(sorted(undecided))}")
        failed = True
    return "failed" if failed and outcome == "completed" else outcome


def _tune(work: _Work, study: Study) -> Status:
    """Trains the tuning runs: all at once, or what a search asks for, until it has asked enough."""
    assert study.tuning is not None
    if not isinstance(study.tuning.trials, Search):
        return _work_through(work, tuning_runs(study))
    outcome: Status = "completed"
    runs = next_generation(work.folder, study)
    while runs:
        found = _work_through(work, runs)
        if found == "interrupted" or work.hopeless:
            return found
        outcome = "failed" if found == "failed" else outcome
        runs = next_generation(work.folder, study, [run_id(run.spec) for run in runs])
    return outcome


def _work_through(work: _Work, runs: list[PlannedRun]) -> Status:
    """Plans runs, trains every cohort that nobody else does, and waits for those that others do."""
    cohorts = work.folder.add(
        runs,
        work.devices,
        lambda spec: tokens_read(spec, work.datasets[spec.task]),
        work.results,
    )
    for _, cohort in cohorts:
        work.newly_done(cohort)
    left, failed = dict(enumerate(cohorts)), False
    while left:
        held_by_others = True
        for k, (name, cohort) in list(left.items()):
            if work.stop.requested:
                return "interrupted"
            outcome = _attempt(work, name, cohort)
            if outcome == "claimed":
                continue
            held_by_others = False
            if outcome == "interrupted":
                return "interrupted"
            if work.hopeless:
                say(f"stopped: {ALIKE} cohorts failed alike: {work.hopeless}")
                return "failed"
            if outcome == "again":
                left[k] = (name, work.folder.refreshed(cohort))
                continue
            del left[k]
            failed = failed or outcome != "completed"
        if left and held_by_others:
            time.sleep(POLL_SECONDS)
    return "failed" if failed else "completed"


def _attempt(work: _Work, name: str, cohort: Cohort) -> str:
    """Trains a cohort once.

    Returns:
      `completed`, `interrupted`, `claimed` where another process has it, `again` where its budget
      allows another attempt, or the reason why it failed.
    """
    work.meter.skip(sum(_steps(run, work.datasets) for run in work.newly_done(cohort)))
    if all(run.done for run in cohort.runs):
        return "completed"
    home = cohort.checkpoints.parent
    failures = Failures(home)
    spent = exhausted(failures)
    if spent is not None:
        return spent
    with claimed(home) as claim:
        if claim is None:
            return "claimed"
        try:
            outcome, trace = _train(work, name, cohort, claim)
        except LeaseLostError:
            say(f"{name}: another process took it over")
            return "claimed"
        work.newly_done(cohort)
        if outcome.status == "completed":
            Checkpoints(cohort.checkpoints).clear()
        if outcome.status in RETRIES:
            failures.add(outcome.status, outcome.reason, trace)
            if outcome.status == "out_of_memory":
                work.folder.halve(cohort)
            else:
                work.failures.setdefault(outcome.reason, set()).add(home.name)
    if outcome.status not in RETRIES:
        return outcome.status
    return exhausted(failures) or "again"


def _train(work: _Work, name: str, cohort: Cohort, claim: Claim) -> tuple[CohortOutcome, str]:
    """Trains a cohort; an error in it is its own failure, with a trace, and not the sweep's."""
    try:
        outcome = train_cohort(
            cohort,
            work.datasets[cohort.runs[0].spec.task],
            stop=work.stop,
            overrides=work.overrides,
            meter=work.meter,
            name=f"{name} ",
            owns_lease=lambda: claim.held,
        )
    except (UserError, LeaseLostError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        say(f"{name} failed: {reason}")
        return CohortOutcome("failed", reason), traceback.format_exc()
    return outcome, ""


def exhausted(failures: Failures) -> str | None:
    """Returns the reason for which a cohort is not tried again, or None."""
    rows = failures.rows()
    counts = Counter(row["status"] for row in rows)
    for row in rows[::-1]:
        if counts[row["status"]] > RETRIES[row["status"]]:
            return f"{row['status']}: {row['reason']}"
    return None


def _unknown(study: Study, folder: StudyFolder, results: Path | None) -> list[PlannedRun]:
    """Returns the runs of a study that have no result, here or in an archive."""
    known = folder.done() | (Counter() if results is None else places(results))
    unknown = []
    for run in _everything(study):
        at = place(row_of(run))
        if known[at]:
            known[at] -= 1
        else:
            unknown.append(run)
    return unknown


def _everything(study: Study) -> list[PlannedRun]:
    """Returns all runs of a study; the final stage is as long for any tuned values."""
    tuning = tuning_runs(study)
    chosen = {run.variant: run.point for run in tuning[::-1]}
    return [*tuning, *final_runs(study, chosen)]


def _steps(run: PlannedRun | CohortRun, datasets: _Datasets) -> int:
    return run.spec.schedule_steps(datasets[run.spec.task].splits.get("train"))[0]
