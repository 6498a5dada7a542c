"""What the command line does with a study: train it here, in workers or on a cluster; report it.

In: a `Study` and its folder. Out: an exit code, and tables on standard output. `sweep/run.py` does
the work. This file imports JAX, so the verbs import it inside their functions.
"""

from __future__ import annotations

from pathlib import Path

from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.recurrence.check import check_cell
from lstm_lab.report.comparison import compare as compare_runs
from lstm_lab.report.render.cross_study import build_cross_study_report
from lstm_lab.report.render.files import build
from lstm_lab.report.runs import read_study
from lstm_lab.results.study_file import count_expected_runs
from lstm_lab.sweep import local as processes
from lstm_lab.sweep import slurm
from lstm_lab.sweep.battery import battery_studies
from lstm_lab.sweep.dry_run import estimate_seconds
from lstm_lab.sweep.failures import clear_failures
from lstm_lab.sweep.folder import StudyFolder
from lstm_lab.sweep.run import launch
from lstm_lab.sweep.study import Study
from lstm_lab.train.loop import stopping_on_signals
from lstm_lab.utils.errors import AGAIN, DONE, FAILED, INTERRUPTED, WRONG_USAGE, UserError
from lstm_lab.utils.progress import say

__all__ = [
    "claims_hold",
    "clear_failures",
    "compare",
    "print_commands",
    "run",
    "run_jobs",
    "submit_to_slurm",
]


def run(
    study: Study,
    folder: Path,
    data_dir: Path,
    *,
    overrides: dict[str, str] | None = None,
    worker: bool = False,
    results: Path | None = None,
) -> int:
    """Works through a study in this process, and prints its report.

    Args:
      study: the study.
      folder: its folder.
      data_dir: the folder of data sets.
      overrides: settings from the command line, for the record.
      worker: whether another process started this one and writes the report.
      results: an archive of runs that need not be trained again, or None.

    Returns:
      An exit code; 1 if a run failed.

    Raises:
      UserError: as in `sweep.run.launch`.
    """
    with stopping_on_signals() as stop:
        status = launch(study, folder, data_dir, stop, overrides, results)
    if status == "interrupted":
        say(AGAIN)
        return INTERRUPTED
    # Also after failures, which the report names. Not in workers: all would write the same files.
    if not worker:
        _report(folder)
    return DONE if status == "completed" else FAILED


def run_jobs(study: Study, folder: Path, jobs: int, arguments: list[str]) -> int:
    """Works through a study in several processes on this machine, and prints its report.

    Args:
      study: the study.
      folder: its folder.
      jobs: the number of processes.
      arguments: flags of `sweep` for every worker.

    Returns:
      An exit code.

    Raises:
      UserError: if the folder holds another study, or other files.
    """
    # Before any worker starts: a wrong folder is then one error here, not one in each log.
    declared = StudyFolder(folder, study)
    declared.declare()
    with stopping_on_signals() as stop:
        code = processes.run_jobs(arguments, folder, jobs, count_expected_runs(declared.plan), stop)
    if code == INTERRUPTED:
        say(AGAIN)
    # With a wrong flag or missing data nothing ran, so there is nothing to report.
    elif code != WRONG_USAGE:
        _report(folder)
    return code


def print_commands(arguments: list[str], jobs: int) -> int:
    """Prints the commands of a study's workers, for another scheduler.

    Args:
      arguments: flags of `sweep` for every worker.
      jobs: the number of workers.

    Returns:
      An exit code.
    """
    # Absolute paths: a scheduler may start the workers in any directory.
    print(slurm.worker_commands([_absolute(argument) for argument in arguments], jobs))
    return DONE


def submit_to_slurm(
    study: Study, folder: Path, jobs: int, arguments: list[str], options: str
) -> int:
    """Submits a study's workers to SLURM as an array of jobs.

    Args:
      study: the study.
      folder: its folder, on a file system that all machines share.
      jobs: the number of workers.
      arguments: flags of `sweep` for every worker.
      options: options of SLURM as "name=value,name=value".

    Returns:
      An exit code; it does not wait for the study.

    Raises:
      UserError: without submitit or SLURM, for a wrong option, or a folder of another study.
    """
    # This writes study.json, so that `status` knows the study while its jobs wait in the queue.
    StudyFolder(folder, study).declare()
    absolute = [_absolute(argument) for argument in arguments]
    submitted = slurm.submit(absolute, folder.absolute(), jobs, options)
    print(f"submitted {', '.join(submitted)}; lstm-lab status --workdir={folder} shows progress")
    return DONE


def compare(
    cell: str, baseline: str, tasks: list[str], budget: str, folder: Path, data_dir: Path
) -> int:
    """Compares a cell with a baseline on a battery of tasks, and prints one verdict.

    Args:
      cell: a variant, or FILE.py:NAME.
      baseline: the variant to compare it with.
      tasks: names of tasks of the battery; an empty list takes all whose data are available.
      budget: the number of trials of each cell on each task, as "8"; or hours for everything, as
        "2h".
      folder: the folder of the studies and the report.
      data_dir: the folder of data sets.

    Returns:
      An exit code; 1 if the cell fails its checks or a run failed.

    Raises:
      UserError: for a budget of another form, or as in `battery_studies`.
    """
    # First: hours of training say nothing about a cell whose gradients are wrong.
    for what, wrong in check_cell(resolve_cell(ModelSpec(cell=cell))):
        say(f"{'ok    ' if wrong is None else 'FAILED'}  {what}" + (f": {wrong}" if wrong else ""))
        if wrong is not None:
            return FAILED
    trials = _trials(cell, baseline, tasks, budget, data_dir)
    declared, left_out = battery_studies(cell, baseline, tasks, trials, data_dir)
    # Before training, so that a user can still fetch the missing data.
    for line in left_out:
        say(f"left out: {line}")
    failed = False
    with stopping_on_signals() as stop:
        for study in declared:
            say(f"{study.name}: {trials} trials and {len(study.seeds)} seeds for each of both")
            status = launch(study, folder / study.name, data_dir, stop)
            if status == "interrupted":
                say(AGAIN)
                return INTERRUPTED
            # The other tasks still count: a failed run does not end the comparison.
            failed = failed or status == "failed"
    places = [folder / study.name for study in declared]
    title = f"{Path(cell).name} against {baseline}"
    print(build_cross_study_report(places, folder / "report", title))
    print(f"\nreport: {folder / 'report' / 'report.html'}")
    return FAILED if failed else DONE


def _trials(cell: str, baseline: str, tasks: list[str], budget: str, data_dir: Path) -> int:
    """Returns the number of trials that a budget allows each cell on each task.

    Hours allow at least two: with one trial, tuning has nothing to choose from.
    """
    number = budget.removesuffix("h")
    if not number.replace(".", "", 1).isdigit() or float(number) <= 0:
        raise UserError(f"--budget: got {budget!r}, expected trials as 8, or hours as 1.5h")
    if number == budget:
        if not number.isdigit():
            raise UserError(f"--budget: got {budget!r}, expected a whole number of trials")
        return int(number)
    # All trials cost about the same, and the cost of final runs and compiling does not depend on
    # their number. The time is therefore linear in this number, and two estimates give the line.
    one, two = (
        sum(
            estimate_seconds(study, data_dir)
            for study in battery_studies(cell, baseline, tasks, n, data_dir)[0]
        )
        for n in (1, 2)
    )
    return max(2, int((3600 * float(number) - one) / (two - one)) + 1)


def _absolute(argument: str) -> str:
    name, _, value = argument.partition("=")
    paths = ("--study", "--workdir", "--data_dir", "--results")
    return f"{name}={Path(value).absolute()}" if name in paths else argument


def _report(folder: Path) -> None:
    print(f"{build(folder)}\n\nreport: {folder / 'report' / 'report.html'}")


def claims_hold(folder: Path) -> bool:
    """Returns whether all claims of a study hold; true for a study without claims.

    Args:
      folder: the study's folder.

    Raises:
      UserError: for a folder without a study.
    """
    # An inconclusive claim does not hold: a study that is too small reproduces nothing.
    return all(judged.verdict == "holds" for judged in compare_runs(read_study(folder)).claims)
