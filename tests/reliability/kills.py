"""Kills training at random moments, and compares its results with undisturbed ones, bit for bit.

    python -m tests.reliability.kills COUNT [--seed=N] [--folder=FOLDER] [KIND ...]

A kind (`KINDS`) is one command, or two in separate PID namespaces. It is started, killed by SIGKILL
after a random time, and started again, until it ends by itself. Its results then have to be those
of the same command in another folder that was never killed; after that it begins again in a new
folder. Printed are the rounds, the kills, and how many came before anything was recorded.

Processes are forked from this one, which has imported the package and started no device: Python and
its modules would otherwise take most of the time, and most kills would hit them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lstm_lab.utils.cache import cache_root
from tests.helpers.containers import in_container
from tests.helpers.paths import ROOT

# Imported before the first fork; none of them starts a device.
MODULES = ("api.training", "cli.verbs", "studies.run", "studies.optuna", "report.render.files")
STALE = 3600.0

TINY = """
base = {
    "task": {"name": "adding", "length": 4, "valid_size": 8, "test_size": 8},
    "model": {"cell": "lstm", "hidden": 3},
    "optim": {"lr": 0.01},
    "train": {"batch_size": 4, "steps": 120, "eval_every": 10},
    "compute": {"checkpoint_seconds": 0.0, "log_every": 5},
}
"""
FILES = {
    "config.py": f"{TINY}\n\ndef get_config():\n    return base\n",
    "study.py": (
        "from lstm_lab.studies import Study, grid\n"
        f"{TINY}\n\n"
        "def get_study():\n"
        "    axis = grid('model.cell', ('lstm', 'np'))\n"
        "    return Study('killed', base, (axis,), (0, 1, 2))\n"
    ),
    "search.py": (
        "from lstm_lab.studies import LogUniform, Search, Study, Tuning\n"
        f"{TINY}\n\n"
        "def get_study():\n"
        "    search = Search(6, {'optim.lr': LogUniform(1e-3, 1.0)}, generation=2, grace=30)\n"
        "    return Study('searched', base, (), (7,), tuning=Tuning(trials=search))\n"
    ),
}


@dataclass(frozen=True)
class Kind:
    """A way to train.

    Attributes:
      arguments: of the command line, without the folder.
      launchers: the number of processes; with two, each is in a PID namespace of its own.
      workers: whether it starts processes of its own.
    """

    arguments: tuple[str, ...]
    launchers: int = 1
    workers: bool = False


KINDS = {
    "run": Kind(("train", "--config=config.py", "--devices=1")),
    "seeds": Kind(("train", "--config=config.py", "--seeds=3", "--devices=1")),
    "sweep": Kind(("sweep", "--study=study.py", "--devices=1")),
    "search": Kind(("sweep", "--study=search.py", "--devices=1")),
    "jobs": Kind(("sweep", "--study=study.py", "--jobs=2"), workers=True),
    "namespaces": Kind(("sweep", "--study=study.py", "--devices=1"), launchers=2),
}
# Of a hundred kills; the last two kinds start Python anew and take longer.
SHARES = {"run": 25, "seeds": 20, "sweep": 20, "search": 15, "jobs": 10, "namespaces": 10}


@dataclass
class Count:
    """What happened to a kind.

    Attributes:
      kills: processes that SIGKILL ended.
      rounds: results that were compared.
      early: kills before the killed command had recorded anything.
      seconds: the time of the undisturbed command.
      training: the part of it after the first record.
    """

    kills: int = 0
    rounds: int = 0
    early: int = 0
    seconds: float = 0.0
    training: float = 0.0
    faults: list[str] = field(default_factory=list)


def forked(work: Callable[[], int | None], log: Path) -> int:
    """Starts a function in a process of its own; returns its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = work() or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command_line(kind: Kind, folder: Path) -> Callable[[], int]:
    """Returns the function that trains a kind in a folder."""

    def work() -> int:
        from lstm_lab.cli import main

        return main([*kind.arguments, f"--workdir={folder}"])

    return work


def ended(pid: int, seconds: float | None) -> int | None:
    """Waits for a process; returns its exit code, -9 if it was killed, or None if it still runs."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def processes_of(folder: Path) -> list[int]:
    """Returns the numbers of the workers of a study's folder, which outlive their launcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--workdir={folder}".encode() in arguments and b"--worker" in arguments:
            found.append(int(path.parent.name))
    return found


def evaluated(folder: Path) -> int:
    """Returns the bytes that the runs in a folder have recorded."""
    # Not all files: folders of checkpoints come and go.
    paths = [folder / "metrics.jsonl", *folder.glob("runs/*/metrics.jsonl")]
    return sum(path.stat().st_size for path in paths if path.exists())


def wait_for_training(pid: int, folder: Path) -> int | None:
    """Waits until a process has recorded something; returns its exit code if it ends before."""
    before = evaluated(folder)
    while evaluated(folder) <= before:
        code = ended(pid, 0.05)
        if code is not None:
            return code
    return None


def one_process(kind: Kind, folder: Path, log: Path, count: Count, goal: int, rng) -> int:
    """Starts a kind, kills it, and starts it again until it ends; returns its exit code."""
    while True:
        pid = forked(command_line(kind, folder), log)
        started, code = evaluated(folder), None
        limit = rng.uniform(0, count.seconds)
        if count.kills >= goal:
            limit = None
        # Most of the time passes before training; most kills should come during it.
        elif rng.random() < 0.75:
            code = wait_for_training(pid, folder)
            limit = rng.uniform(0, count.training)
        if code is None:
            code = ended(pid, limit)
        if code is None:
            # With workers: the launcher, one of them, or all.
            victims = [pid, *processes_of(folder)] if kind.workers else [pid]
            if len(victims) > 1 and rng.random() < 0.7:
                victims = [rng.choice(victims)]
            count.early += evaluated(folder) <= started
            for victim in victims:
                try:
                    os.kill(victim, signal.SIGKILL)
                    count.kills += 1
                except ProcessLookupError:
                    continue
            # A launcher whose worker was killed starts it again, and ends by itself.
            code = ended(pid, None)
        if code != -signal.SIGKILL:
            break
    while processes_of(folder):
        time.sleep(0.1)
    return code


def expire_leases(folder: Path, processes) -> None:
    """Makes the leases of killed namespaces old, so that nobody waits two minutes for their age."""
    alive = set()
    for process in processes:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            alive.add(os.readlink(f"/proc/{child}/ns/pid"))
    then = time.time() - STALE
    for path in folder.glob("cohorts/*/lease.*"):
        try:
            if json.loads(path.read_text())["namespace"] not in alive:
                os.utime(path, (then, then))
        except (OSError, ValueError, TypeError, KeyError):
            os.utime(path, (then, then))


def two_namespaces(kind: Kind, folder: Path, log: Path, count: Count, goal: int, rng) -> int:
    """The same for launchers in PID namespaces of their own, killed in turns."""
    command = [sys.executable, "-m", "lstm_lab", *kind.arguments, f"--workdir={folder}"]

    def start():
        with log.open("ab") as output:
            return in_container(command, stdout=output, stderr=output, cwd=Path.cwd())

    running = [start() for _ in range(kind.launchers)]
    codes: list[int] = []
    while running:
        before = evaluated(folder)
        end = time.monotonic() + rng.uniform(0, 2 * count.seconds)
        # Either at a random time, or a little after something was recorded.
        patient = rng.random() < 0.75
        while count.kills < goal and time.monotonic() < end:
            time.sleep(rng.uniform(0, 0.5))
            if patient and evaluated(folder) > before:
                break
        time.sleep(0.2)
        codes += [p.returncode for p in running if p.poll() is not None]
        running = [p for p in running if p.poll() is None]
        if running and count.kills < goal:
            victim = running.pop(rng.randrange(len(running)))
            count.early += evaluated(folder) <= before
            victim.kill()
            count.kills += victim.wait() == -signal.SIGKILL
            running.append(start())
        expire_leases(folder, running)
    return max(codes)


def compare(folder: Path, expected: Path) -> None:
    """Raises AssertionError if the results of two folders differ in a bit."""
    from lstm_lab.utils.files import read_json
    from tests.helpers.sweep import run_records
    from tests.helpers.training import assert_same_record, run_record

    if (expected / "run.json").exists():
        assert_same_record(run_record(folder), run_record(expected))
        return
    a, b = run_records(folder), run_records(expected)
    assert a.keys() == b.keys()
    assert b
    for run in b:
        assert_same_record(a[run], b[run])
    plans = [read_json(path / "study.json")["runs"] for path in (folder, expected)]
    points = [{run: (row["point"], row["seed"]) for run, row in plan.items()} for plan in plans]
    assert points[0] == points[1]


def kill(name: str, goal: int, folder: Path, rng) -> Count:
    """Kills a kind `goal` times; returns what happened."""
    kind, count = KINDS[name], Count()
    folder.mkdir()
    log, expected = folder / "log", folder / "undisturbed"
    start = time.monotonic()
    pid = forked(command_line(kind, expected), log)
    assert wait_for_training(pid, expected) is None, log.read_text()[-3000:]
    middle = time.monotonic()
    assert ended(pid, None) == 0, log.read_text()[-3000:]
    count.seconds, count.training = time.monotonic() - start, time.monotonic() - middle
    if kind.launchers > 1:
        count.seconds += 4.0  # Python and its modules start anew
    drive = one_process if kind.launchers == 1 else two_namespaces
    while count.kills < goal:
        place = folder / f"round_{count.rounds}"
        code = drive(kind, place, log, count, goal, rng)
        same = ended(forked(lambda place=place: compare(place, expected), log), None)
        count.rounds += 1
        if code or same or "Traceback" in log.read_text(errors="replace"):
            count.faults.append(f"{name}, round {count.rounds - 1}: exit code {code}, see {log}")
            log = folder / f"log_{count.rounds}"
        else:
            shutil.rmtree(place)
        print(f"{name}: {count}", flush=True)
    return count


def keep_slow_parts(usual: Path, cache: Path) -> None:
    """Takes over what takes seconds to make and what no kill is about: the kernel, and fonts.

    Args:
      usual: the user's cache of this package.
      cache: a new one, for processes that will be killed.
    """
    if (usual / "kernel").is_dir():
        shutil.copytree(usual / "kernel", cache / "kernel", dirs_exist_ok=True)
    fonts = usual.parent / "matplotlib"
    if fonts.is_dir():
        os.environ.setdefault("MPLCONFIGDIR", str(fonts))


@contextmanager
def surroundings(folder: Path | None) -> Iterator[Path]:
    """Gives a working folder with the files of all kinds, and a cache of its own."""
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    usual = cache_root()
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        keep_slow_parts(usual, cache_root())
        for name, content in FILES.items():
            (place / name).write_text(content)
        os.chdir(place)
        yield place.resolve()


def main() -> int:
    """Runs the kinds; returns 1 if a result differs or a traceback was printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    flags = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for name in MODULES:
        importlib.import_module(f"lstm_lab.{name}")
    rng = random.Random(flags.seed)
    share = sum(SHARES[name] for name in flags.kinds)
    counts = {}
    with surroundings(flags.folder) as folder:
        for name in flags.kinds:
            goal = max(1, round(flags.count * SHARES[name] / share))
            counts[name] = kill(name, goal, folder / name, rng)
    faults = [fault for count in counts.values() for fault in count.faults]
    for name, count in counts.items():
        print(f"{name}: {count.kills} kills, {count.early} early, {count.rounds} rounds")
    print(f"{sum(count.kills for count in counts.values())} kills, {len(faults)} faults")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
