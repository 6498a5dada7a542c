"""Several worker processes on this machine, each on its share of the cores or accelerators.

Each worker is `lstm-lab sweep --worker` in its own process; see `run.py`. They coordinate through
leases in the study's folder, so this file only starts them, watches them and shows the progress.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from lstm_lab.results.study_file import count_expected_runs, count_runs, read_plan
from lstm_lab.studies.slurm import worker_command
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import DONE, FAILED, INTERRUPTED, WRONG_USAGE
from lstm_lab.utils.progress import Meter, say

POLL_SECONDS = 0.5
# Restarts of a worker that a signal killed, such as the out-of-memory killer of the kernel. A
# worker that exits by itself has already reported its error.
RESTARTS = 3


def run_jobs(
    arguments: Sequence[str], workdir: Path, jobs: int, runs: int, stop: StopRequest
) -> int:
    """Trains a study with several processes; if one dies, the others take its cohorts over.

    Args:
      arguments: the arguments of `lstm-lab sweep`, for every worker.
      workdir: the study's folder, with study.json.
      jobs: the number of processes.
      runs: the number of runs of the study. Looks may add more, which the bar then shows.
      stop: requests an early end.

    Returns:
      The exit code that `lstm-lab sweep` returns.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    accelerators = range(_count_accelerators())
    workers = [
        WorkerProcess(
            worker_command(arguments),
            _share(cores, jobs, k),
            _share(accelerators, jobs, k),
            workdir / "logs" / f"worker_{k}.log",
        )
        for k in range(jobs)
    ]
    with Meter(runs, "runs") as meter:
        counts = count_runs(workdir)
        meter.skip(counts.results + counts.begun)
        trained = counts.trained
        signaled = False
        try:
            # A list, not any(): all have to be asked, and restarted if they were killed.
            while [w for w in workers if w.running or (not signaled and w.restarted())]:
                if stop.requested and not signaled:
                    signaled = True
                    for worker in workers:
                        worker.stop()
                time.sleep(POLL_SECONDS)
                before, counts = counts, count_runs(workdir)
                if counts.results >= runs:
                    # The last look may have opened a further group of seeds.
                    expected = count_expected_runs(read_plan(workdir))
                    meter.extend(expected - runs)
                    runs = expected
                # Taken over by a worker within seconds; they would promise an early end.
                meter.skip(counts.archived - before.archived)
                # Not less than before: after a kill, some steps are trained again.
                known, trained = trained, max(trained, counts.trained)
                text = f"{jobs} process{'es' if jobs > 1 else ''}, {counts.results}/{runs} runs"
                meter.advance(trained - known, text)
        finally:
            # After a second Ctrl-C, too: they would train on without anybody who knows of them.
            for worker in workers:
                worker.stop()
    return _exit_code(workers)


def _exit_code(workers: Sequence[WorkerProcess]) -> int:
    """Returns the exit code of all workers together; reports the errors of those that failed."""
    codes = {worker.code for worker in workers}
    for worker in workers:
        if worker.code not in (DONE, INTERRUPTED):
            say(f"{worker.log}: {worker.last_line()}")
    # The code that needs an action of the user wins.
    for code in (WRONG_USAGE, INTERRUPTED):
        if code in codes:
            return code
    return DONE if codes == {DONE} else FAILED


def _share(items: Sequence[int], jobs: int, k: int) -> list[int]:
    """Returns the k-th of `jobs` equal shares; with fewer items than jobs, jobs share an item."""
    if len(items) < jobs:
        return [items[k % len(items)]] if items else []
    return list(items[len(items) * k // jobs : len(items) * (k + 1) // jobs])


def _count_accelerators() -> int:
    """Returns the number of accelerators.

    Counted in another process: JAX reserves most of their memory in the process that looks.
    """
    # JAX finds accelerators by plugins. Without one, nobody has to wait for a process that looks.
    plugins = entry_points(group="jax_plugins") or [
        name for name in ("jax_plugins", "libtpu") if importlib.util.find_spec(name)
    ]
    if not plugins:
        return 0
    code = "import jax; print(jax.local_device_count() * (jax.default_backend() != 'cpu'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


class WorkerProcess:
    """A worker: a process that trains cohorts of the study until none is left.

    Args:
      command: its command line.
      cores: the cores it runs on; an empty list for all.
      accelerators: the accelerators it sees; an empty list changes nothing.
      log: the file for its output.
    """

    def __init__(
        self, command: list[str], cores: list[int], accelerators: list[int], log: Path
    ) -> None:
        self.command = command
        self.cores, self.log = cores, log
        self.environment = dict(os.environ)
        if accelerators:
            # The user, or SLURM, may have restricted the devices before: the k-th visible one need
            # not be device k.
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else [str(k) for k in range(1024)]
            self.environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[k] for k in accelerators)
        self.restarts, self.stopped = 0, False
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log, _pinned_to(self.cores):
            # A session of its own: Ctrl-C reaches only the parent, which sends one SIGTERM.
            return subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        # Stopped before it could handle the signal, while it imported modules.
        if self.stopped and self.process.returncode == -signal.SIGTERM:
            return INTERRUPTED
        return self.process.returncode

    def stop(self) -> None:
        """Asks it to write a checkpoint and to end."""
        if self.running and not self.stopped:
            self.stopped = True
            self.process.send_signal(signal.SIGTERM)

    def restarted(self) -> bool:
        """Starts it again if a signal killed it; returns whether it did."""
        code = self.process.poll()
        if code is None or code >= 0 or self.restarts >= RESTARTS:
            return False
        self.restarts += 1
        say(f"{self.log.stem} was killed by signal {-code}; restarting it")
        self.process = self._start()
        return True

    def last_line(self) -> str:
        """Returns the last line of its log, or its exit code if the log is empty."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


@contextmanager
def _pinned_to(cores: list[int]) -> Iterator[None]:
    """Restricts this process to some cores; a process started inside inherits the restriction."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
