"""Workers as a SLURM job array, by submitit; or as plain command lines for any other scheduler."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstm_lab.utils.errors import DONE, FAILED, UserError


def worker_command(arguments: Sequence[str]) -> list[str]:
    """Returns the command of a worker, which takes what nobody else works on until nothing is left.

    Args:
      arguments: of `lstm-lab sweep`.
    """
    return [sys.executable, "-m", "lstm_lab", "sweep", *arguments, "--worker"]


def emit(arguments: Sequence[str], jobs: int) -> str:
    """Returns a line for each worker, for a scheduler that runs commands."""
    return "\n".join([shlex.join(worker_command(arguments))] * jobs)


class Task:
    """What one job of the array does: it runs a worker; preempted, it is queued again.

    The worker has asked its lanes to stop and written their checkpoint before the job leaves.

    Args:
      command: of the worker.
    """

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs the worker and returns its exit code; anything but success or failed runs raises."""
        self.process = subprocess.Popen(self.command)
        code = self.process.wait()
        if code not in (DONE, FAILED):
            raise RuntimeError(f"the worker ended with exit code {code}")
        return code

    def __submitit_checkpoint__(self) -> Any:
        """Ends the worker after its checkpoint; returns what is queued in its place."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        return DelayedSubmission(Task(self.command))


def submit(arguments: Sequence[str], workdir: Path, jobs: int, options: str) -> list[str]:
    """Submits workers as one job array.

    Args:
      arguments: of `lstm-lab sweep`, for every worker.
      workdir: the study's folder, declared, which all machines see.
      jobs: how many workers.
      options: of submitit's `update_parameters`, as "timeout_min=60,slurm_partition=gpu".

    Returns:
      The ids of the jobs.

    Raises:
      UserError: without submitit, without SLURM, or for an option that submitit does not know.
    """
    try:
        import submitit
    except ImportError:
        raise UserError('--launcher=slurm: needs submitit; pip install "lstm-lab[slurm]"') from None
    try:
        executor = submitit.AutoExecutor(workdir / "logs" / "slurm" / "%j", cluster="slurm")
        executor.update_parameters(name=workdir.name, **parse_options(options))
    except (RuntimeError, NameError, TypeError) as error:
        raise UserError(f"--slurm: {str(error).partition(chr(10))[0]}") from None
    with executor.batch():
        submitted = [executor.submit(Task(worker_command(arguments))) for _ in range(jobs)]
    return [str(job.job_id) for job in submitted]


def parse_options(options: str) -> dict[str, int | str]:
    """Returns options of the form "name=value,name=value"; whole numbers become numbers."""
    found: dict[str, int | str] = {}
    for part in filter(None, options.split(",")):
        name, separator, value = part.partition("=")
        if not separator or not name:
            raise UserError(f"--slurm: found {part!r}, allowed name=value,name=value")
        found[name] = int(value) if value.isdigit() else value
    return found
