"""The gradient against the lag: a case that is known, and what the script leaves."""

import subprocess
import sys

import jax
import numpy as np

from experiments.gradient_flow import gradient_by_lag
from lstm_lab.cells import CellSpec
from tests.helpers.paths import ROOT


def test_a_cell_that_only_forgets_loses_half_a_step():
    """With all weights near zero and f = 1/2 the state halves each step, and the gradient too."""
    found = gradient_by_lag(CellSpec(init="normal(1e-4)"), jax.random.key(0), T=12, H=8)
    np.testing.assert_allclose(found, 0.5 ** np.arange(12.0), rtol=1e-2)


def test_the_script_leaves_a_table_a_picture_and_events(tmp_path):
    command = [sys.executable, "experiments/gradient_flow.py", f"--workdir={tmp_path}"]
    flags = ["--steps=20", "--hidden=8", "--seeds=2"]
    done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "chrono" in done.stdout
    lines = (tmp_path / "gradient_flow.csv").read_text().splitlines()
    assert lines[0] == "lag,rnn,np,vanilla,lstm,chrono"
    assert len(lines) == 21
    assert (tmp_path / "gradient_flow.png").stat().st_size > 10_000
    assert list(tmp_path.glob("events.out.tfevents.*"))
