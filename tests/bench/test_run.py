"""Runs of a bench: worker processes, interrupted and resumed runs, dying processes, and flags."""

import json

import pytest

from lstm_lab.bench import run as bench
from lstm_lab.bench.cases import Case
from lstm_lab.bench.plan import make_plan
from lstm_lab.bench.table import markdown
from lstm_lab.bench.timings import update_timings
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json
from lstm_lab.utils.progress import Meter

CASES = [Case("gradient", 4, 6, 5, 8, cell=cell) for cell in ("minlstm", "lstm")]


def plan_of(suite, names, cases=CASES):
    return make_plan(suite, cases, names, memory_settings=False, rounds=2, seconds=0.001)


def run(plan, result=None, keep=lambda result: None):
    with Meter(len(plan.cases), "cases") as meter:
        result = bench.run_suite(
            plan, result or bench.new_result(plan, "the command"), meter=meter, keep=keep
        )
        assert meter.done == pytest.approx(len(plan.cases))
    return result


def rows_of(result):
    return [(row["label"], row["contender"]) for row in result["rows"]]


ROWS = [
    ("minlstm, B 4, T 6, D 5, H 8", "lstm_lab scan"),
    ("minlstm, B 4, T 6, D 5, H 8", "lstm_lab associative"),
    ("B 4, T 6, D 5, H 8", "lstm_lab scan"),
]


def test_results_replace_the_rows_of_the_same_device(tmp_path):
    """Runs the processes of two contenders, one of which supports only one of two cases."""
    row_counts = []
    plan = plan_of("backends", ["lstm_lab scan", "lstm_lab associative"])
    result = run(plan, keep=lambda result: row_counts.append(len(result["rows"])))
    assert row_counts == [2, 3]
    assert rows_of(result) == ROWS
    assert all(len(row["ms"]) == 2 and row["first_ms"] > 0 for row in result["rows"])
    assert "| minlstm, B 4, T 6, D 5, H 8 |" in markdown(result)
    path = tmp_path / "timings.json"
    other_device = {"platform": "gpu", "device": "another", "rows": []}
    path.write_text(json.dumps({"tables": [other_device]}))
    update_timings(path, result)
    update_timings(path, result)
    other, table = json.loads(path.read_text())["tables"]
    assert other == other_device
    assert (table["platform"], table["device"]) == ("cpu", "cpu")
    assert [row["cell"] for row in table["rows"]] == ["minlstm", "plain"]
    assert [set(row["ms"]) for row in table["rows"]] == [{"scan", "associative"}, {"scan"}]


def test_an_interrupted_run_continues_at_the_missing_cases(tmp_path):
    path = tmp_path / "layer.json"
    plan = plan_of("cells", ["lstm_lab scan", "lstm_lab associative"])

    def stop(result):
        write_json(path, result)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, keep=stop)
    first = json.loads(path.read_text())
    assert rows_of(first) == ROWS[:2]
    result = run(plan, bench.resumed(path, bench.new_result(plan, "")))
    assert rows_of(result) == ROWS
    assert result["rows"][:2] == first["rows"]
    assert result["done"] == [case.to_json() for case in CASES]
    # The suite `cells` compares backends with scan.
    assert [row["auto"] for row in result["rows"]][:2] == 2 * [result["rows"][0]["auto"]]
    assert ["deviation" in row for row in result["rows"]] == [False, True, False]


def test_a_result_with_other_settings_is_not_continued(tmp_path):
    path = tmp_path / "layer.json"
    plan = plan_of("layer", ["lstm_lab scan"])
    new = bench.new_result(plan, "")
    assert bench.resumed(path, new) is new
    write_json(path, {**new, "rounds": 3})
    with pytest.raises(UserError, match="--resume: .* other settings: rounds: 3, now 2"):
        bench.resumed(path, new)
    write_json(path, {**new, "machine": {**new["machine"], "date": "2020-01-01"}})
    assert bench.resumed(path, new)["machine"]["date"] == "2020-01-01"
    path.write_text("{}")
    with pytest.raises(UserError, match="--resume: .* is not a result"):
        bench.resumed(path, new)


def test_a_contender_that_fails_or_dies_does_not_end_the_run(tmp_path):
    """The cell of the first case ends its process; that of the second raises an error."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import os\n"
        "from lstm_lab.cells import CellSpec\n"
        "def end():\n    os._exit(9)\n"
        "DEADLY = end() if os.environ.get('DEADLY') else CellSpec()\n"
    )
    dead = Case("gradient", 4, 6, 5, 8, cell=f"{file}:DEADLY")
    wrong = Case("gradient", 4, 6, 5, 8, cell=f"{file}:ABSENT")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEADLY", "1")
        result = run(plan_of("layer", ["lstm_lab scan"], [dead, CASES[0]]))
    assert rows_of(result) == ROWS[:1]
    (fault,) = result["errors"]
    assert fault["error"] == "the process ended (exit code 9)"
    result = run(plan_of("layer", ["lstm_lab scan"], [wrong]))
    (fault,) = result["errors"]
    assert fault["error"].startswith("UserError: model.cell: ")
    assert result["rows"] == []
