"""What the command line does with a study: here, by several processes, on a cluster; its report."""

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
      data_dir: where data sets are.
      overrides: settings given on the command line, for the record.
      worker: leave the report to who started this process.
      results: an archive of runs that need not be trained again, or None.

    Returns:
      An exit code.
    """
    with stopping_on_signals() as stop:
        status = launch(study, folder, data_dir, stop, overrides, results)
    if status == "interrupted":
        say(AGAIN)
        return INTERRUPTED
    if not worker:
        _report(folder)
    return DONE if status == "completed" else FAILED


def run_jobs(study: Study, folder: Path, jobs: int, arguments: list[str]) -> int:
    """Works through a study by several processes, and prints its report; returns an exit code."""
    declared = StudyFolder(folder, study)
    declared.declare()
    with stopping_on_signals() as stop:
        code = processes.run_jobs(arguments, folder, jobs, count_expected_runs(declared.plan), stop)
    if code == INTERRUPTED:
        say(AGAIN)
    elif code != WRONG_USAGE:
        _report(folder)
    return code


def print_commands(arguments: list[str], jobs: int) -> int:
    """Prints the commands of a study's workers, for another scheduler; returns an exit code."""
    print(slurm.worker_commands([_absolute(argument) for argument in arguments], jobs))
    return DONE


def submit_to_slurm(
    study: Study, folder: Path, jobs: int, arguments: list[str], options: str
) -> int:
    """Submits a study's workers to SLURM as an array of jobs; returns an exit code."""
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
      baseline: the variant to beat.
      tasks: of the battery; none is all whose data are there.
      budget: trials for each of both on each task, or hours for everything, as "2h".
      folder: where the studies and the report go.
      data_dir: where data sets are.

    Returns:
      An exit code; failed where the cell fails its checks or a run failed.

    Raises:
      UserError: for a budget of another form, or as in `battery_studies`.
    """
    for what, wrong in check_cell(resolve_cell(ModelSpec(cell=cell))):
        say(f"{'ok    ' if wrong is None else 'FAILED'}  {what}" + (f": {wrong}" if wrong else ""))
        if wrong is not None:
            return FAILED
    trials = _trials(cell, baseline, tasks, budget, data_dir)
    declared, left_out = battery_studies(cell, baseline, tasks, trials, data_dir)
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
            failed = failed or status == "failed"
    places = [folder / study.name for study in declared]
    title = f"{Path(cell).name} against {baseline}"
    print(build_cross_study_report(places, folder / "report", title))
    print(f"\nreport: {folder / 'report' / 'report.html'}")
    return FAILED if failed else DONE


def _trials(cell: str, baseline: str, tasks: list[str], budget: str, data_dir: Path) -> int:
    """Returns how many trials a budget allows each of both; two at least."""
    number = budget.removesuffix("h")
    if not number.replace(".", "", 1).isdigit() or float(number) <= 0:
        raise UserError(f"--budget: got {budget!r}, expected trials as 8, or hours as 1.5h")
    if number == budget:
        if not number.isdigit():
            raise UserError(f"--budget: got {budget!r}, expected a whole number of trials")
        return int(number)
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
    """Returns whether all that a study claimed holds."""
    return all(judged.verdict == "holds" for judged in compare_runs(read_study(folder)).claims)
