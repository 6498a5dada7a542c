"""Starts the processes of a study: on this machine, on SLURM, or as commands or a Job to print.

In: a study and the flags of `sweep`. Out: an exit code, and tables on standard output. Read
`studies/local.py`, `studies/slurm.py` and `manifests.py` next.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.cli.options import PATH_FLAGS, as_arguments
from lstm_lab.utils.errors import DONE, INTERRUPTED, WRONG_USAGE, Interrupted

if TYPE_CHECKING:
    from lstm_lab.cli.studies import SweepFlags
    from lstm_lab.studies.study import Study


def start(study: Study, name: str, folder: Path, data_dir: Path, flags: SweepFlags) -> int:
    """Starts the processes of a study, in the way that the flags choose.

    Args:
      study: the study.
      name: its name or file, as the workers load it.
      folder: its folder.
      data_dir: the folder of data sets.
      flags: the flags of `sweep`.

    Returns:
      An exit code.

    Raises:
      UserError: if the folder holds another study or other files; without submitit or SLURM.
    """
    jobs = flags.jobs or 1
    optional = {"trials": flags.trials, "results": flags.results, "log": flags.log}
    optional["devices"] = flags.devices
    if flags.emit == "kubernetes":
        from lstm_lab.cli.manifests import print_worker_job

        # The default of this machine is in its user's cache, which pods do not have.
        named = {"study": name, "workdir": folder, "data-dir": flags.data_dir or "data"}
        return print_worker_job({**named, **optional}, folder.name, flags.kubernetes, jobs)
    # Folders are named even if they are defaults: the environment of a worker may lack
    # $LSTM_LAB_DATA.
    named = {"study": name, "workdir": folder, "data-dir": data_dir}
    arguments = as_arguments({**named, **optional})
    if flags.emit:
        return _print_commands(arguments, jobs)
    if flags.launcher == "slurm":
        return _submit_to_slurm(study, folder, jobs, arguments, flags.slurm)
    return _run_jobs(study, folder, jobs, arguments)


def report_text(folder: Path) -> str:
    """Writes the report of a study; returns its tables and the path of its page.

    Args:
      folder: the folder of the study.
    """
    # Late: matplotlib and SciPy take a second, which the first step need not wait for.
    from lstm_lab.report.render.files import build

    return f"{build(folder)}\n\nreport: {folder / 'report' / 'report.html'}"


def _run_jobs(study: Study, folder: Path, jobs: int, arguments: list[str]) -> int:
    """Works through a study in several processes on this machine, and prints its report."""
    from lstm_lab.results.study_file import count_expected_runs
    from lstm_lab.studies.folder import StudyFolder
    from lstm_lab.studies.local import run_jobs
    from lstm_lab.training.loop import stopping_on_signals

    # Before any worker starts: a wrong folder is then one error here, not one in each log.
    declared = StudyFolder(folder, study)
    declared.declare()
    # The workers write to their logs, which few read.
    declared.finished_slots()
    with stopping_on_signals() as stop:
        code = run_jobs(arguments, folder, jobs, count_expected_runs(declared.plan), stop)
    if code == INTERRUPTED:
        raise Interrupted
    # With a wrong flag or missing data nothing ran, so there is nothing to report.
    if code != WRONG_USAGE:
        print(report_text(folder))
    return code


def _print_commands(arguments: list[str], jobs: int) -> int:
    """Prints the commands of a study's workers, for another scheduler."""
    from lstm_lab.studies.slurm import worker_commands

    # Absolute paths: a scheduler may start the workers in any directory.
    print(worker_commands([_absolute(argument) for argument in arguments], jobs))
    return DONE


def _submit_to_slurm(
    study: Study, folder: Path, jobs: int, arguments: list[str], options: str
) -> int:
    """Submits a study's workers to SLURM as an array of jobs; does not wait for them."""
    from lstm_lab.studies.folder import StudyFolder
    from lstm_lab.studies.slurm import submit

    # This writes study.json, so that `status` knows the study while its jobs wait in the queue.
    StudyFolder(folder, study).declare()
    absolute = [_absolute(argument) for argument in arguments]
    submitted = submit(absolute, folder.absolute(), jobs, options)
    print(f"submitted {', '.join(submitted)}; lstm-lab status --workdir={folder} shows progress")
    return DONE


def _absolute(argument: str) -> str:
    name, _, value = argument.partition("=")
    if name == "--log":
        parts = [str(Path(k).absolute()) if ":" in k else k for k in value.split(",")]
        return f"{name}={','.join(parts)}"
    # The name of a study is not a path.
    is_path = name in PATH_FLAGS and (name != "--study" or Path(value).is_file())
    return f"{name}={Path(value).absolute()}" if is_path else argument
