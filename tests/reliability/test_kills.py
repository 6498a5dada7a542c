"""Processes that are killed at random moments end with the results of undisturbed ones."""

import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT


def run(*arguments):
    """Runs the driver; it forks, which a process that has started JAX may not do."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.kills", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" kills, 0 faults\n\n")


@pytest.mark.optimized
def test_a_run_that_is_killed_ends_bit_for_bit():
    run("1", "run", "--seed=4")


@pytest.mark.slow
def test_200_kills_change_no_bit():
    run("200")
