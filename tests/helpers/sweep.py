"""A study of small runs, and a sweep in a separate process, for the tests of studies."""

import subprocess
import sys

from lstm_lab.config.serialization import to_json
from lstm_lab.studies import Study, Tuning, grid
from lstm_lab.studies.plan import own_pool
from tests.helpers.paths import ROOT
from tests.helpers.training import run_record, small_spec

BASE = to_json(small_spec())
TUNED = {"tuning": Tuning((grid("optim.lr", (0.1, 0.01)),), (0, 1), {"train.steps": 10})}


def pool(devices):
    """Returns that many devices like those of this process, for a plan."""
    return own_pool()._replace(devices=devices)


def tiny_study(**options):
    """Returns a study of two cells and three seeds; options replace its fields."""
    defaults = {
        "name": "tiny",
        "base": BASE,
        "axes": (grid("model.cell", ("lstm", "rnn")),),
        "seeds": (10, 11, 12),
        "baseline": "lstm",
    }
    return Study(**{**defaults, **options})


# A study of 24 runs that takes long enough to be killed before it ends.
STUDY_FILE = """
from lstm_lab.studies import Study, grid


def get_study():
    base = {
        "task": {"name": "adding", "length": 12, "valid_size": 50, "test_size": 50},
        "model": {"cell": "lstm", "hidden": 8},
        "optim": {"lr": 0.01},
        "train": {"batch_size": 8, "steps": 1500, "eval_every": 25},
        "compute": {"checkpoint_seconds": 0.0, "log_every": 25},
    }
    return Study("killed", base, (grid("model.cell", ("lstm", "np")),), tuple(range(12)))
"""


def start_sweep(tmp_path, workdir, *flags, start=subprocess.Popen, study=STUDY_FILE):
    """Starts `lstm-lab sweep` on a study in a separate process, or in a container."""
    (tmp_path / "s.py").write_text(study)
    command = [sys.executable, "-m", "lstm_lab", "sweep", f"--study={tmp_path / 's.py'}"]
    return start(
        [*command, f"--workdir={workdir}", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_success(process):
    """Waits for a sweep to end, asserts exit code 0, and returns its output."""
    out, _ = process.communicate(timeout=900)
    assert process.returncode == 0, out
    return out


def run_records(workdir):
    """Returns the records of a study's finished runs, by run id."""
    return {
        path.parent.name: run_record(path.parent) for path in workdir.glob("runs/*/result.json")
    }
