"""Times whole trials: those of a study with `sweep --jobs`, and the same protocol in PyTorch.

Every process starts, reads its data, trains, evaluates after each epoch, evaluates the test split
with its best weights and ends. Times are wall-clock times and include our compilation.
`torch_trials.py` holds the PyTorch side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.bench.contenders import missing
from lstm_lab.bench.machine import machine
from lstm_lab.studies import Study, Trials, grid
from lstm_lab.studies.expand import tuning_runs
from lstm_lab.tasks import Stream
from lstm_lab.utils.progress import Meter, say

CONTENDERS = ("lstm_lab", "torch", "torch processes")
CELL = "np"  # PyTorch's nn.LSTM has no peepholes

# A file, since the workers of `sweep --jobs` load their study from one.
STUDY = """from lstm_lab.bench.trials import sample
from lstm_lab.studies.load import load_study

def get_study():
    return sample(load_study({path!r}), {trials}, {epochs})
"""

Start = Callable[[], list["subprocess.Popen[bytes]"]]


def sample(study: Study, trials: int, epochs: int) -> Study:
    """Returns a copy of a random search with one variant, fewer trials and no early stopping.

    Without early stopping, both libraries train the same number of epochs; otherwise the time would
    depend on how training goes.

    Args:
      study: a study with random trials.
      trials: number of trials, the first ones of the study.
      epochs: number of epochs per trial.
    """
    assert study.tuning is not None
    assert isinstance(study.tuning.trials, Trials)
    base = {
        **study.settings,
        "train": {**study.settings["train"], "epochs": epochs, "patience": None},
    }
    fewer = replace(study.tuning.trials, count=trials)
    return replace(
        study,
        base=base,
        axes=(grid("model.cell", (CELL,)),),
        baseline=None,
        claims=(),
        tuning=replace(study.tuning, trials=fewer),
    )


def run_trials(
    path: Path,
    study: Study,
    data_dir: Path,
    names: Sequence[str] = CONTENDERS,
    *,
    trials: int,
    epochs: int,
    rounds: int,
    meter: Meter,
) -> dict[str, Any]:
    """Times trials of lstm_lab and of PyTorch in alternating turns.

    lstm_lab runs one process per core. PyTorch runs once in one process with all threads, and once
    in one process per core.

    Args:
      path, study: the file of a study and the study: a random search on sequences of different
        lengths.
      data_dir: folder of the data sets.
      names: contenders; those that are not installed are logged and left out.
      trials: number of trials, the first ones of the study.
      epochs: number of epochs per trial.
      rounds: number of turns of each contender.
      meter: counts the turns.

    Returns:
      JSON-ready, as the result of `run_suite`.
    """
    absent = [name for name in names if missing(name)]
    for name in absent:
        say(f"{name}: not installed, left out")
    present = [name for name in names if name not in absent]
    turns: dict[str, list[float]] = {name: [] for name in present}
    with tempfile.TemporaryDirectory() as scratch:
        start = _prepare(Path(scratch), path, sample(study, trials, epochs), data_dir)
        for k in range(rounds):
            # Forwards, then backwards, so that no contender is always the first one.
            for name in present if k % 2 == 0 else present[::-1]:
                turns[name].append(_wall(start[name]))
                meter.advance(1, f"{name}: {turns[name][-1] / 1e3:.1f} s")
    label = f"{trials} trials of {study.name}, {CELL}, {epochs} epochs"
    rows = [
        {
            "case": {"work": "trials", "trials": trials, "epochs": epochs},
            "label": label,
            "contender": name,
            "memory_settings": False,
            "ms": times,
        }
        for name, times in turns.items()
    ]
    return {"suite": "trials", "machine": machine(), "left_out": absent, "rows": rows}


def _wall(start: Start) -> float:
    """Returns the milliseconds from the start of all processes to the end of the last one."""
    started = time.perf_counter()
    codes = [process.wait() for process in start()]
    if any(codes):
        raise RuntimeError(f"a contender ended with exit codes {codes}")
    return 1e3 * (time.perf_counter() - started)


def _prepare(scratch: Path, path: Path, study: Study, data_dir: Path) -> dict[str, Start]:
    """Writes data and points for the contenders; returns functions that start their processes."""
    runs = tuning_runs(study)
    spec = runs[0].spec
    splits = spec.task.load(data_dir).splits
    arrays = {
        f"{name}_{part}": values
        for name, split in splits.items()
        if not isinstance(split, Stream)
        for part, values in split.take(np.arange(split.rows))._asdict().items()
        if values is not None
    }
    np.savez(scratch / "data.npz", **arrays)
    points = [
        {
            "hidden": run.spec.model.hidden,
            # Our momentum has dampening, which scales the rate by 1 - momentum; PyTorch's SGD
            # refuses it for Nesterov momentum.
            "lr": run.spec.optim.lr * (1.0 - run.spec.optim.momentum),
            "momentum": run.spec.optim.momentum,
            "noise": run.spec.model.input_noise,
            "seed": run.spec.seed,
        }
        for run in runs
    ]
    protocol = {"epochs": spec.train.epochs, "points": points}
    (scratch / "protocol.json").write_text(json.dumps(protocol))
    file = scratch / "study.py"
    text = STUDY.format(path=str(path.absolute()), trials=len(runs), epochs=spec.train.epochs)
    file.write_text(text)
    cores = os.cpu_count() or 1

    def ours() -> list[subprocess.Popen[bytes]]:
        # A new folder for each turn: in the old one, `sweep` would find all runs done.
        workdir = tempfile.mkdtemp(dir=scratch)
        flags = [f"--study={file}", f"--workdir={workdir}", f"--data-dir={data_dir}"]
        return [_process("lstm_lab", "sweep", *flags, f"--jobs={cores}")]

    def torch(processes: int) -> list[subprocess.Popen[bytes]]:
        threads = cores // processes
        module = "lstm_lab.bench.torch_trials"
        return [
            _process(module, str(scratch), str(k), str(processes), str(threads))
            for k in range(processes)
        ]

    return {"lstm_lab": ours, "torch": lambda: torch(1), "torch processes": lambda: torch(cores)}


def _process(*arguments: str) -> subprocess.Popen[bytes]:
    devnull = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", *arguments], stdout=devnull, stderr=devnull)
