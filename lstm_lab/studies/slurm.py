"""Workers as a SLURM job array, with submitit; or as command lines for any other scheduler.

Each worker is `lstm-lab sweep --worker`, as in `local.py`. A preempted job checkpoints and is put
back into the queue.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.utils.errors import DONE, FAILED, UserError

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


def worker_command(arguments: Sequence[str]) -> list[str]:
    """Returns the command line of a worker, which trains cohorts until none is left.

    Args:
      arguments: the arguments of `lstm-lab sweep`.
    """
    # The same interpreter, so the same virtual environment, on every machine.
    return [sys.executable, "-m", "lstm_lab", "sweep", *arguments, "--worker"]


def worker_commands(arguments: Sequence[str], jobs: int) -> str:
    """Returns one shell command per worker, one per line, for a scheduler that runs commands."""
    return "\n".join([shlex.join(worker_command(arguments))] * jobs)


class SlurmWorker:
    """The body of one job: it runs a worker in a subprocess and requeues itself if preempted.

    submitit pickles it, so it keeps only the command line.

    Args:
      command: the command line of the worker.
    """

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs the worker.

        Returns:
          Its exit code: success, or success with failed runs.

        Raises:
          RuntimeError: for any other exit code, so that SLURM shows the job as failed.
        """
        self.process = subprocess.Popen(self.command)
        code = self.process.wait()
        # A failed run is recorded in the study; the worker itself did its work.
        if code not in (DONE, FAILED):
            raise RuntimeError(f"the worker ended with exit code {code}")
        return code

    def __submitit_checkpoint__(self) -> DelayedSubmission:
        """Stops the worker after its checkpoint; returns the job that replaces this one.

        submitit calls it on SLURM's preemption signal. Waiting for the worker matters: SLURM kills
        the job as soon as this method returns.
        """
        from submitit.helpers import DelayedSubmission

        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        return DelayedSubmission(SlurmWorker(self.command))


def submit(arguments: Sequence[str], workdir: Path, jobs: int, options: str) -> list[str]:
    """Submits workers as one job array.

    Args:
      arguments: the arguments of `lstm-lab sweep`, for every worker.
      workdir: the study's folder, with study.json, on a file system that all machines share.
      jobs: the number of workers.
      options: options of submitit's `update_parameters`, as "timeout_min=60,slurm_partition=gpu".

    Returns:
      The ids of the jobs.

    Raises:
      UserError: without submitit or SLURM, or for an unknown option.
    """
    try:
        import submitit
    except ImportError:
        raise UserError(
            '--launcher=slurm requires submitit: pip install "lstm-lab[slurm]"'
        ) from None
    try:
        executor = submitit.AutoExecutor(workdir / "logs" / "slurm" / "%j", cluster="slurm")
        executor.update_parameters(name=workdir.name, **parse_options(options))
    # What submitit raises for a missing SLURM, or for an unknown option.
    except (RuntimeError, NameError, TypeError) as error:
        raise UserError(f"--slurm: {str(error).partition(chr(10))[0]}") from None
    # One array instead of many jobs: schedulers limit the number of jobs per user.
    with executor.batch():
        submitted = [executor.submit(SlurmWorker(worker_command(arguments))) for _ in range(jobs)]
    return [str(job.job_id) for job in submitted]


def parse_options(options: str) -> dict[str, int | str]:
    """Returns options of the form "name=value,name=value"; whole numbers become integers.

    Raises:
      UserError: for a part of another form.
    """
    values = named_values("--slurm", options)
    return {name: int(value) if value.isdigit() else value for name, value in values.items()}


def named_values(flag: str, text: str) -> dict[str, str]:
    """Returns the values of a text "name=value,name=value" by name.

    Args:
      flag: the flag that has the text, for the error.
      text: the text.

    Raises:
      UserError: for a part of another form, or a name that comes twice.

    Example:
      named_values("--slurm", "timeout_min=60,slurm_partition=gpu")
    """
    values: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, separator, value = part.partition("=")
        if not separator or not name:
            raise UserError(f"{flag}: got {part!r}, expected name=value,name=value")
        if name in values:
            raise UserError(f"{flag}: got {name} twice, expected it once")
        values[name] = value
    return values
