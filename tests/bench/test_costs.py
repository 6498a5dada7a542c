"""Costs: a process per measurement, with its start, its first call and its memory."""

import subprocess
import sys

import numpy as np
import pytest

from lstm_lab.bench import costs
from lstm_lab.bench.cases import Case
from lstm_lab.bench.plan import make_plan
from lstm_lab.bench.run import new_result
from lstm_lab.utils.progress import Meter

CASE = Case("gradient", 4, 6, 5, 8)


def test_costs_of_two_contenders_in_rounds():
    plan = make_plan(
        "costs",
        [CASE],
        ["lstm_lab scan", "lstm_lab associative"],
        memory_settings=False,
        rounds=2,
        seconds=0.0,
    )
    with Meter(1, "cases") as meter:
        kept = []
        result = costs.run_costs(
            plan, new_result(plan, ""), meter=meter, keep=lambda r: kept.append(len(r["rows"]))
        )
        assert meter.done == pytest.approx(1)
    assert kept == [1]
    (row,) = result["rows"]  # the other backend does not serve a gated cell
    assert row["contender"] == "lstm_lab scan"
    assert result["errors"] == []
    for first, total in zip(
        np.sum([row[key] for key in ("imports_s", "build_s", "first_s")], 0),
        row["cold_s"],
        strict=True,
    ):
        assert 0 < first < total
    assert min(row["memory_mib"]) > 0


def test_a_process_that_fails_is_an_error_with_its_last_line(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    answer = costs.measure("lstm_lab", CASE)
    assert isinstance(answer, str)
    assert answer.startswith("exit code 1: ")
    assert "nowhere" in answer


def test_the_peak_of_memory_contains_a_large_array():
    # In a new process: in this one, the array may fit below an earlier peak.
    code = (
        "import numpy as np\n"
        "from lstm_lab.bench.cost_worker import peak_memory\n"
        "before = peak_memory()\n"
        "array = np.ones(2**25)\n"  # 256 MiB
        "assert peak_memory() - before > 100\n"
        "del array\n"
        "assert peak_memory() - before > 100\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
