"""The record of one run, read from its folder."""

import math

from lstm_lab.report.single_run import read_run
from lstm_lab.utils.files import write_json


def test_a_metric_without_a_value_is_shown_as_a_dash(tmp_path):
    spec = {"task": {"name": "table"}, "model": {"cell": "lstm"}, "seed": 0}
    head = {"layout": {"kind": "single", "devices": 1, "lanes": 1}, "status": "completed"}
    write_json(tmp_path / "run.json", {"id": "a", "spec": spec, **head})
    nan = float("nan")
    result = {
        "status": "completed",
        "best": {"step": 4, "valid": {"nll": 0.5}},
        "test": {"nll": 0.25, "auc": nan},
        "trivial": {"constant": {"nll": 0.75}, "logistic_regression": {"nll": 1.0, "auc": nan}},
    }
    write_json(tmp_path / "result.json", result)
    record = read_run(tmp_path)
    assert math.isnan(record.test["auc"])
    # Nothing stands where a metric was not measured.
    assert record.scores_table() == [
        ["", "nll", "auc"],
        ["validation", "0.50000", ""],
        ["test", "0.25000", "\u2013"],
        ["trivial: constant (test)", "0.75000", ""],
        ["trivial: logistic regression (test)", "1.00000", "\u2013"],
    ]
