"""Trains a tiny model in unusual environments: it works, or ends in one line.

    python -m tests.reliability.environments [NAME ...]

The outcome of an environment is "same bits", the bits of another backend, the one line with exit
code 1 or 2, or what is wrong. Without a compiler or a cache, another backend computes: it has to be
in run.json, a line has to say so, once, and the results are those of a run that names that backend.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from lstm_lab.results.run_files import read_head
from tests.helpers.paths import ROOT
from tests.helpers.training import assert_same_record, run_record

NOTICE = "the fast CPU backend `native` is off"
# A process without the rights of root, even if root starts it: it may not write to a folder that
# nobody may write to.
PLAIN = ["unshare", "--user"]
CONFIG = """
def get_config():
    return {
        "task": {"name": "adding", "length": 4, "valid_size": 8, "test_size": 8},
        "model": {"cell": "lstm", "hidden": 3},
        "optim": {"lr": 0.01},
        "train": {"batch_size": 4, "steps": 10, "eval_every": 5},
    }
"""


@dataclass(frozen=True)
class Environment:
    """An environment.

    Attributes:
      variables: of the environment; None removes one.
      before: commands of the shell that run first.
      redirect: redirections of the shell.
      user: whether the process has no rights of root.
      kernel: whether the compiled kernel can be used. Without a compiler or a cache, another
        backend computes the results.
      compiled: whether XLA compiles the program. Without, its operations round one by one.
      refused: whether it may end in one line.
    """

    variables: dict[str, str | None] = field(default_factory=dict)
    before: str = ""
    redirect: str = ""
    user: bool = False
    kernel: bool = True
    compiled: bool = True
    refused: bool = False


def variable(name: str, value: str | None, **options: bool) -> Environment:
    return Environment({name: value}, **options)


ENVIRONMENTS = {
    "JAX_ENABLE_X64=1": variable("JAX_ENABLE_X64", "1", refused=True),
    "JAX_DEBUG_NANS=1": variable("JAX_DEBUG_NANS", "1", refused=True),
    "JAX_DISABLE_JIT=1": variable("JAX_DISABLE_JIT", "1", compiled=False),
    "JAX_CHECK_TRACER_LEAKS=1": variable("JAX_CHECK_TRACER_LEAKS", "1"),
    "JAX_NUMPY_DTYPE_PROMOTION=strict": variable(
        "JAX_NUMPY_DTYPE_PROMOTION", "strict", refused=True
    ),
    "JAX_NUMPY_RANK_PROMOTION=raise": variable("JAX_NUMPY_RANK_PROMOTION", "raise"),
    "JAX_DEFAULT_PRNG_IMPL=rbg": variable("JAX_DEFAULT_PRNG_IMPL", "rbg", refused=True),
    "JAX_PLATFORMS=cuda": variable("JAX_PLATFORMS", "cuda", refused=True),
    "JAX_PLATFORMS=tpu": variable("JAX_PLATFORMS", "tpu", refused=True),
    "JAX_PLATFORMS=moon": variable("JAX_PLATFORMS", "moon", refused=True),
    "XLA_FLAGS with 3 devices": variable("XLA_FLAGS", "--xla_force_host_platform_device_count=3"),
    "HOME missing": variable("HOME", None),
    "HOME is not there": variable("HOME", "/nowhere"),
    "HOME read-only": Environment(
        {"XDG_CACHE_HOME": None},
        "mkdir home; chmod 555 home; export HOME=$PWD/home",
        user=True,
        kernel=False,
    ),
    "a user without a name": Environment(user=True),
    "CXX=/bin/false": variable("CXX", "/bin/false", kernel=False),
    "XDG_CACHE_HOME a file": Environment({"XDG_CACHE_HOME": "file"}, "touch file", kernel=False),
    "LC_ALL=C, ascii": Environment({"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}),
    "PYTHONUTF8=0, LC_ALL=POSIX": Environment(
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}
    ),
    "PYTHONWARNINGS=error": variable("PYTHONWARNINGS", "error"),
    "PYTHONHASHSEED=1": variable("PYTHONHASHSEED", "1"),
    "PYTHONHASHSEED=2": variable("PYTHONHASHSEED", "2"),
    "PYTHONOPTIMIZE=2": variable("PYTHONOPTIMIZE", "2"),
    "PYTHONDONTWRITEBYTECODE=1": variable("PYTHONDONTWRITEBYTECODE", "1"),
    "PYTHONUNBUFFERED=1": variable("PYTHONUNBUFFERED", "1"),
    "stdin closed": Environment(redirect="<&-"),
    "stdout closed": Environment(redirect=">&-"),
    "stderr closed": Environment(redirect="2>&-"),
    "all streams closed": Environment(redirect="<&- >&- 2>&-"),
    "stdout on a full disk": Environment(redirect=">/dev/full", refused=True),
    "stderr on a full disk": Environment(redirect="2>/dev/full", refused=True),
    "stdout a pipe that ends": Environment(redirect="| true"),
    "TMPDIR missing": variable("TMPDIR", "/nowhere"),
    "OMP_NUM_THREADS=1": variable("OMP_NUM_THREADS", "1"),
    "one CPU": Environment(before="taskset -pc 0 $$ >/dev/null"),
    "TERM=dumb, NO_COLOR, COLUMNS=20": Environment(
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"}
    ),
    "COLUMNS=0": variable("COLUMNS", "0"),
    "COLUMNS=wide": variable("COLUMNS", "wide"),
    "TZ=Pacific/Kiritimati": variable("TZ", "Pacific/Kiritimati"),
    "SOURCE_DATE_EPOCH=0": variable("SOURCE_DATE_EPOCH", "0"),
    "MPLBACKEND=QtAgg": variable("MPLBACKEND", "QtAgg"),
    "umask 077": Environment(before="umask 077"),
    "umask 000": Environment(before="umask 000"),
    "working directory deleted": Environment(
        before='mkdir gone; cd gone; rmdir "$PWD"', refused=True
    ),
    "working directory read-only": Environment(
        before="mkdir locked; chmod 555 locked; cd locked", user=True
    ),
    "64 open files": Environment(before="ulimit -n 64", refused=True),
    "little memory": Environment(before="ulimit -v 1500000", refused=True),
    "PATH empty": Environment({"PATH": ""}, kernel=False),
}
# In one process, for the quick tests: nothing in it may change a result. Without PYTHONOPTIMIZE,
# which costs 7 s: Python compiles all modules again.
TOGETHER = Environment(
    {
        **{"HOME": None, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TMPDIR": "/nowhere"},
        **{"XDG_CACHE_HOME": "file", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"},
        **{"PYTHONHASHSEED": "1", "CXX": "/bin/false"},
        **{"JAX_NUMPY_RANK_PROMOTION": "raise"},
    },
    before="touch file; umask 077",
    redirect="<&-",
)


def start(environment: Environment, place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Trains in an environment, with more flags; the results are in `run` in the folder."""
    place.mkdir(exist_ok=True)
    (place / "config.py").write_text(CONFIG)
    place.chmod(0o777)
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(place.parent / "cache"),
    }
    for name, value in environment.variables.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    command = [sys.executable, "-m", "lstm_lab", "train", f"--config={place / 'config.py'}"]
    script = f'{environment.before}\nexec "$0" "$@" {environment.redirect}'
    if environment.redirect.startswith("|"):
        script = script.replace("exec ", "")
    shell = [*(PLAIN if environment.user else []), "/bin/sh", "-c", script]
    return subprocess.run(
        [*shell, *command, f"--workdir={place / 'run'}", "--devices=1", *flags],
        cwd=place,
        env=variables,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )


def outcome(environment: Environment, place: Path, expected: Path) -> tuple[bool, str]:
    """Trains in an environment; returns whether that is as promised, and what happened."""
    done = start(environment, place)
    said = f"{done.stdout[-300:]}\n{done.stderr[-1500:]}"
    if "Traceback" in said or done.returncode not in (0, 1, 2):
        return False, f"exit code {done.returncode}: {said}"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("lstm-lab: ")]
        # Nobody can be told anything where standard error is a full disk.
        told = len(lines) == 1 or "2>/dev/full" in environment.redirect
        return (
            told and environment.refused,
            f"exit code {done.returncode}: {''.join(lines) or said}",
        )
    return results(environment, place, expected, done.stderr)


def results(
    environment: Environment, place: Path, expected: Path, printed: str
) -> tuple[bool, str]:
    """Compares the results of a run; returns whether they are as promised, and what they are."""
    usual, backend = backend_of(expected), backend_of(place / "run")
    notices = printed.count(NOTICE)
    if not environment.kernel:
        text = f"backend {backend} instead of {usual}, {notices} notices"
        if backend == usual or notices != 1:
            return False, text
        named = place.parent / f"usual-{backend}"
        if not named.exists():
            flag = f"--config.compute.backend={backend}"
            assert start(Environment(), named, flag).returncode == 0
        same = same_values(place / "run", named / "run")
        return same, f"{text}, {'its' if same else 'other'} bits"
    if backend != usual or notices:
        return False, f"backend {backend}, {notices} notices"
    if same_values(place / "run", expected):
        return True, "same bits"
    return not environment.compiled, "other bits"


def backend_of(run: Path) -> str:
    """Returns the backends that run.json names."""
    head = read_head(run)
    assert head is not None
    return str(head["backend"])


def same_values(run: Path, expected: Path) -> bool:
    """Returns whether two runs have the same results, curves and weights, bit for bit."""
    one, other = run_record(run), run_record(expected)
    # The backend is a setting: the ids of the runs differ.
    one[0]["id"] = other[0]["id"] = None
    try:
        assert_same_record(one, other)
    except AssertionError:
        return False
    return True


def main() -> int:
    """Prints a line for each environment; returns 1 if one is not as promised."""
    names = sys.argv[1:] or list(ENVIRONMENTS)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o777)
        assert start(Environment(), folder / "usual").returncode == 0
        for number, name in enumerate(names):
            begin = time.monotonic()
            good, text = outcome(ENVIRONMENTS[name], folder / str(number), folder / "usual" / "run")
            wrong += not good
            mark = "as promised" if good else "WRONG"
            print(f"{name}: {mark}: {text} ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"{len(names)} environments, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
