"""Rows of a study: which runs a report compares."""

import pytest

from lstm_lab.report.runs import read_study
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import write_study


@pytest.mark.parametrize(("n", "compared"), [(1, 1), (5, 1), (14, 1), (16, 2)])
def test_a_study_without_final_seeds_compares_at_least_its_best_trial(tmp_path, n, compared):
    folder = write_study(tmp_path, "search", {"lstm": [(k - 2) ** 2 for k in range(n)]})
    plan = read_json(folder / "study.json")
    plan["study"] |= {"seeds": [], "tuning": {"seeds": None, "points": {"lstm": n}}}
    plan["runs"] = {run: row | {"stage": "tuning"} for run, row in plan["runs"].items()}
    write_json(folder / "study.json", plan)
    runs = read_study(folder).compared_runs("lstm")
    assert len(runs) == compared
    assert runs[0].seed == min(n - 1, 2)
