"""Intervals that exceed the range of a metric have a note, and no others."""

import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.averages import groups_note
from lstm_lab.report.render.cross_study import build_cross_study_report
from lstm_lab.report.render.metric_ranges import RANGES, range_note
from lstm_lab.report.render.tables import notes
from lstm_lab.report.runs import read_study
from lstm_lab.statistics.estimates import Interval
from lstm_lab.tasks import TASKS
from lstm_lab.tasks.metrics import DIRECTIONS
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import write_study

NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "low", "high", "span"),
    [
        ("accuracy", 0.6166, 1.1803, "0 to 1"),
        ("accuracy", -0.1, 0.5, "0 to 1"),
        ("mse", -0.06, 0.13, "0 or more"),
        ("perplexity", 0.5, 3.0, "1 or more"),
        ("accuracy", 0.5, 1.0, None),
        ("accuracy", 0.5, 1.00001, None),  # 1.0000 in the table
        ("accuracy", NAN, NAN, None),
        ("mse", 0.1, 2.0, None),
        ("reward", -5.0, 5.0, None),
    ],
)
def test_a_note_tells_of_intervals_beyond_the_range(metric, low, high, span):
    note = range_note(metric, [Interval(0.5, 0.4, 0.6), Interval(0.8, low, high)])
    expected = f"Some intervals exceed the range of {metric} ({span}), since Student's t assumes "
    assert note == ("" if span is None else f"{expected}normal scores.")


def test_every_metric_has_a_range():
    final = {name for task in TASKS.values() for name in task.final_metric_directions}
    assert {*DIRECTIONS, *final} <= RANGES.keys()


def test_reports_have_the_note_below_their_tables(tmp_path):
    folder = write_study(tmp_path / "s", "s", {"a": [0.001, 0.2], "b": [0.5, 0.5]})
    plan = read_json(folder / "study.json")
    plan["study"]["groups"] = {"of a": ["a"]}
    write_json(folder / "study.json", plan)
    c = compare(read_study(folder))
    note = range_note("mse", [row.mean for row in c.rows])
    assert note
    assert note in notes(c)
    assert groups_note(c).endswith(note)
    build_cross_study_report([folder, folder], tmp_path / "both", "both")
    text = (tmp_path / "both" / "report.md").read_text()
    assert text.count("exceed the range") == 1
    narrow = compare(read_study(write_study(tmp_path / "n", "n", {"a": [0.1, 0.11]})))
    assert not any("exceed" in line for line in notes(narrow))
