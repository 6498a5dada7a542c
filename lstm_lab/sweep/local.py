"""Several worker processes on this machine, each with its share of the cores or accelerators."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lstm_lab.results.study_file import count_results
from lstm_lab.sweep.slurm import worker_command
from lstm_lab.train.loop import StopRequest
from lstm_lab.utils.errors import DONE, FAILED, INTERRUPTED, WRONG_USAGE
from lstm_lab.utils.progress import Meter, say

POLL_SECONDS = 0.5
# How often a worker that was killed is started again.
RESTARTS = 3


def run_jobs(
    arguments: Sequence[str], workdir: Path, jobs: int, runs: int, stop: StopRequest
) -> int:
    """Works through a study by several processes; what one leaves, the others take over.

    Args:
      arguments: of `lstm-lab sweep`, for every worker.
      workdir: the study's folder, declared.
      jobs: how many processes.
      runs: how many runs the study has.
      stop: asks to end early.

    Returns:
      An exit code, as `lstm-lab sweep` gives it.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    workers = [
        _Worker(
            worker_command(arguments),
            _share(cores, jobs, k),
            _share(range(_accelerators()), jobs, k),
            workdir / "logs" / f"worker_{k}.log",
        )
        for k in range(jobs)
    ]
    with Meter(runs, "runs") as meter:
        done = count_results(workdir)
        meter.skip(done)
        asked = False
        while [worker for worker in workers if worker.running]:
            if stop.requested and not asked:
                asked = True
                for worker in workers:
                    worker.process.send_signal(signal.SIGTERM)
            time.sleep(POLL_SECONDS)
            before, done = done, count_results(workdir)
            meter.advance(done - before, f"{jobs} processes")
    codes = {worker.process.returncode for worker in workers}
    for worker in workers:
        if worker.process.returncode not in (DONE, INTERRUPTED):
            say(f"{worker.log}: {worker.last_line()}")
    for code in (WRONG_USAGE, INTERRUPTED):
        if code in codes:
            return code
    return DONE if codes == {DONE} else FAILED


def _share(things: Sequence[int], jobs: int, k: int) -> list[int]:
    """Returns the k-th of equal shares; where there are fewer than jobs, they take turns."""
    if len(things) < jobs:
        return [things[k % len(things)]] if things else []
    return list(things[len(things) * k // jobs : len(things) * (k + 1) // jobs])


def _accelerators() -> int:
    """Returns how many there are; another process looks, since looking would reserve them."""
    code = "import jax; print(jax.local_device_count() * (jax.default_backend() != 'cpu'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(found.stdout) if found.returncode == 0 else 0


class _Worker:
    """A process that works through the study until nothing is left.

    Args:
      command: its command line.
      cores: those that it runs on; empty for all.
      accelerators: those that it sees.
      log: where its output goes.
    """

    def __init__(
        self, command: list[str], cores: list[int], accelerators: list[int], log: Path
    ) -> None:
        self.command = command
        self.cores, self.log = cores, log
        self.environment = dict(os.environ)
        if accelerators:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else [str(k) for k in range(1024)]
            self.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[k] for k in accelerators)
        self.restarts = 0
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log, _pinned(self.cores):
            # A session of its own: a Ctrl-C is for the parent, which asks once.
            return subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether it works; one that was killed is started again."""
        code = self.process.poll()
        if code is None:
            return True
        if code < 0 and self.restarts < RESTARTS:
            self.restarts += 1
            say(f"{self.log.stem} was ended by signal {-code}; it starts again")
            self.process = self._start()
            return True
        return False

    def last_line(self) -> str:
        """Returns the last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


@contextmanager
def _pinned(cores: list[int]) -> Iterator[None]:
    """Runs on some cores only; a process started here stays there."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
