"""Changes the code in one place at a time, and counts the changes that no test notices.

    python -m tests.reliability.mutants COUNT [--seed=N] [--folder=FOLDER] [--survivors]

A mutant is the package with one changed operator, number, condition, decorator or loop, made by
cosmic-ray (the extra `mutants`). COUNT mutants are drawn from the files in `TESTS`, from each in
proportion to its possible mutants. In a copy of the repository, each runs the tests of its file
until one fails or they take too long. Printed are the killed mutants of each package with Wilson's
interval, and the survivors. FOLDER/mutants.jsonl keeps the outcomes: the command continues after an
interruption, and with `--survivors` it runs the survivors again, with the tests of today.
tests/helpers/mutants.py says which mutants there are.

Processes are forked from this one, which has imported JAX and started no device.
"""

import argparse
import compileall
import difflib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from scipy.stats import binomtest

from tests.helpers.mutants import drawn, read
from tests.helpers.paths import ROOT

IMPORTED_ONCE = ("jax.numpy", "flax.linen", "optax", "sklearn.metrics", "scipy.stats")
CELL = (
    "cells/equations cells/cells cells/masks recurrence/unroll recurrence/check recurrence/oracle"
)
LAYER = "recurrence/unroll recurrence/check recurrence/oracle"
KERNEL = "recurrence/backends/kernel_library recurrence/dispatch recurrence/backends/native"
# The files of lstm_lab and their tests, the quickest first: a/b is tests/a/test_b.py.
TESTS = {
    "cells/baselines": CELL,
    "cells/minlstm": CELL,
    "cells/slstm": CELL,
    "cells/catalogue": "cells/cells cells/describe recurrence/check recurrence/oracle",
    "cells/cell": CELL,
    "cells/describe": "cells/describe",
    "cells/equations": "cells/equations cells/describe",
    "cells/expressions": "cells/equations cells/describe",
    "cells/gated": CELL,
    "cells/initializers": "cells/cells cells/initializers cells/masks",
    "cells/masks": "cells/masks cells/equations cells/cells",
    "cells/spec": CELL,
    "recurrence/backends/associative": f"recurrence/dispatch {LAYER}",
    "recurrence/backends/cudnn": "recurrence/backends/cudnn",
    "recurrence/backends/fused": LAYER,
    "recurrence/backends/kernel_library": KERNEL,
    "recurrence/backends/native": f"{KERNEL} {LAYER}",
    "recurrence/check": "recurrence/check",
    "recurrence/dispatch": "recurrence/dispatch recurrence/unroll",
    "recurrence/steps": LAYER,
    "recurrence/unroll": LAYER,
    "statistics/hypotheses": "statistics/hypotheses report/verdicts report/cross_study",
    "statistics/estimates": "statistics/estimates report/cross_study",
    "tasks/metrics": "tasks/metrics tasks/span_f1 tasks/readers/records",
}
SECONDS = 1200  # of one mutant; undisturbed, the slowest tests of a file take 300


def run_tests(copy, tests):
    """Runs files of tests in a copy of the repository; returns pytest's exit code."""
    output = os.open(f"{copy}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("tests", "lstm_lab")]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    os.chdir(copy)
    paths = [re.sub(r"(.*)/(\w+)", r"tests/\1/test_\2.py", name) for name in tests.split()]
    flags = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={copy}.tests"]
    return pytest.main([*flags, *paths])


def forked(copy, tests):
    """The same in a process of its own; returns 0 only if all tests pass in time."""
    pid, end = os.fork(), time.monotonic() + SECONDS
    if not pid:
        os.setsid()
        code = 1
        try:
            code = run_tests(copy, tests)
        finally:
            os._exit(code)
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(done[1])


def outcome(mutant, copy):
    """Puts a mutant into the copy, and runs the tests of its file."""
    path, start = copy / "lstm_lab" / f"{mutant.file}.py", time.time()
    before, after = read(mutant.file), mutant.code()
    path.write_text(after)
    try:
        code = forked(copy, TESTS[mutant.file])
    finally:
        path.write_text(before)
    log = Path(f"{copy}.log").read_text(errors="replace")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log, re.M)[:1]
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    row = {"mutant": mutant, "code": code, "test": failed, "difference": list(lines)[2:]}
    return row | {"seconds": round(time.time() - start, 1)}


def show(rows):
    """Prints the survivors, and the counts of each package."""
    for row in rows:
        if not row["code"]:
            print(*row["mutant"], *row["difference"], sep="\n  ")
    for package in ("cells", "recurrence", "report", "tasks", ""):
        codes = [row["code"] for row in rows if row["mutant"][0].startswith(package)]
        killed = sum(map(bool, codes))
        low, high = binomtest(killed, len(codes)).proportion_ci(method="wilson")
        print(f"{package or 'all'}: {killed} of {len(codes)}, {low:.3f} to {high:.3f}")


def prepared(folder):
    """Makes a copy of the repository in which mutants run, and sets the environment."""
    copy = folder / "copy"
    for name in ("lstm_lab", "tests", "configs", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", copy)
    settings = {
        "PYTHONPATH": copy,
        "PYTHONDONTWRITEBYTECODE": 1,
        "XDG_CACHE_HOME": folder / "cache",  # of compiled kernels
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": folder / "programs",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0,
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
    }
    os.environ |= {name: str(value) for name, value in settings.items()}
    sys.dont_write_bytecode = True
    compileall.compile_dir(copy / "lstm_lab", quiet=1)
    # A mutant may have the size and the time of another, which its compiled file would stand for.
    for source in (copy / "lstm_lab" / file for file in TESTS):
        for path in source.parent.glob(f"__pycache__/{source.name}.*.pyc"):
            path.unlink()
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    return copy


def main():
    """Tests the mutants that are not tested yet, and shows the outcomes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "mutants"))
    parser.add_argument("--survivors", action="store_true")
    flags = parser.parse_args()
    folder, known = flags.folder.resolve(), {}
    folder.mkdir(parents=True, exist_ok=True)
    copy, record = prepared(folder), folder / "mutants.jsonl"
    if record.exists():
        known = {tuple(row["mutant"]): row for row in map(json.loads, record.open())}
    elif forked(copy, " ".join(sorted({t for tests in TESTS.values() for t in tests.split()}))):
        raise SystemExit(f"the tests fail without a mutant: see {copy}.log")
    sample = drawn(TESTS, flags.count, random.Random(flags.seed))
    for mutant in sample:
        if mutant not in known or (flags.survivors and not known[mutant]["code"]):
            known[mutant] = outcome(mutant, copy)
            with record.open("a") as lines:
                lines.write(json.dumps(known[mutant]) + "\n")
            print(*mutant, known[mutant]["code"], known[mutant]["seconds"], flush=True)
    show([known[mutant] for mutant in sample])


if __name__ == "__main__":
    main()
