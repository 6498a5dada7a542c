"""The report as text for wide and narrow terminals, and as JSON."""

import json

import pytest

from lstm_lab.compilation.costs import StepCost
from lstm_lab.compilation.launches import StepLaunches
from lstm_lab.compilation.memory import MemoryUse
from lstm_lab.compilation.programs import PlannedProgram, ProgramReport
from lstm_lab.compilation.report import as_json, as_text
from lstm_lab.compilation.targets import find_target
from lstm_lab.training.layout import Layout
from tests.helpers.training import small_spec

GIB = 2**30
TARGET = find_target("v5e-4")
PROGRAM = PlannedProgram(small_spec(), Layout("members", 4, 8), ("np", "gru"), 30, 1000)
REPORT = ProgramReport(
    PROGRAM,
    ("fused",),
    12.0,
    "",
    MemoryUse(GIB / 8, GIB, GIB, 0.0, 2 * GIB, 0.0, 4 * GIB, 16 * GIB),
    StepLaunches((3.0, 4.0), (11.0, 9.5), 1234.0, 2, 0),
    StepCost(1e9, 1e6, 2e9, 2e6, 0.05, "memory"),
)
REFUSED = ProgramReport(PROGRAM, ("fused",), 3.0, "RESOURCE_EXHAUSTED: out of memory")


def test_a_wide_terminal_gets_a_table_and_a_narrow_one_blocks():
    wide = as_text([REPORT, REPORT], TARGET, 200).splitlines()
    assert wide[0].startswith("program")
    assert "25.0%" in wide[1]
    narrow = as_text([REPORT, REPORT], TARGET, 70).splitlines()
    assert max(map(len, narrow[:-1])) <= 70
    assert any("4 GiB of 16 GiB per device: fits" in line for line in narrow)


def test_the_report_says_what_the_user_asks():
    text = as_text([REPORT], TARGET, 200)
    assert "4 forward, 11 backward" in text
    assert "2, none in a time loop" in text
    assert "1,234 per optimizer step" in text
    assert "50 ms per optimizer step (memory)" in text
    assert (
        "1 program for 30 runs: all fit v5e-4; at least 50s for all steps, without evaluations"
        in text
    )
    assert "not run" in text


@pytest.mark.parametrize("width", [60, 200])
def test_what_does_not_fit_is_named_and_explained(width):
    large = REPORT._replace(memory=REPORT.memory._replace(total=17.0 * GIB))
    text = as_text([REPORT, large, REFUSED], TARGET, width)
    assert "2 of 3 do not fit v5e-4" in text
    assert "RESOURCE_EXHAUSTED: out of memory" in text
    assert "at least 50s" not in text


def test_hosts_share_the_cohorts_of_a_study():
    text = as_text([REPORT], find_target("v5e-64"), 200)
    assert "at least 3.12 s for all steps with 16 hosts" in text
    one_run = PROGRAM._replace(layout=Layout("batch", 64, 1, hosts=16))
    assert "at least 50s for all steps," in as_text(
        [REPORT._replace(program=one_run)], find_target("v5e-64"), 200
    )


def test_json_has_every_number():
    values = json.loads(json.dumps(as_json([REPORT, REFUSED], TARGET)))
    assert values["fits"] is False
    first, second = values["programs"]
    assert first["memory"]["fits"] is True
    assert first["launches"]["backward"] == [11.0, 9.5]
    assert first["cost"]["limit"] == "memory"
    assert first["least_seconds_of_all_steps"] == 50.0
    assert (second["compiles"], second["memory"]) == (False, None)
