"""Curves of the test split: means, intervals, tables and figures, from a study's folder."""

import dataclasses

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import compare_pair
from lstm_lab.report.render.figures.curves import learning_curves
from lstm_lab.report.render.figures.score_curves import score_curves
from lstm_lab.report.render.figures.style import ACCENT, COLORS
from lstm_lab.report.render.files import build
from lstm_lab.report.render.tables import groups, score_curve
from lstm_lab.report.runs import read_study
from lstm_lab.report.score_curves import MeanCurve, mean_curves, ranges
from lstm_lab.statistics.estimates import mean_interval
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import SCORES, write_study

RNG = np.random.default_rng(0)


def curve(y, x=(1, 2, 3, 4), mark=2):
    return Curve("length", "accuracy", x, tuple(y), mark, "longest trained length")


def test_means_and_intervals_are_those_of_each_place():
    values = RNG.random((5, 4))
    mean = mean_curves([{"a": curve(y)} for y in values])["a"]
    expected = [mean_interval(list(column)) for column in values.T]
    np.testing.assert_allclose(np.stack([mean.mean, mean.low, mean.high], 1), expected)
    assert mean.x.tolist() == [1, 2, 3, 4]
    assert (mean.mark, mean.mark_name) == (2, "longest trained length")


def test_places_that_a_run_lacks_are_left_out():
    runs = [{"a": curve([0.5, None, 1.0, 0.25])}, {"a": curve([1.0, 0.5], x=(1, 2))}, {}]
    mean = mean_curves(runs)["a"]
    assert (mean.x.tolist(), mean.mean.tolist()) == ([1.0], [0.75])
    one = mean_curves(runs[:1])["a"]
    assert (one.x.tolist(), one.mean.tolist()) == ([1.0, 3.0, 4.0], [0.5, 1.0, 0.25])
    assert np.isnan([one.low, one.high]).all()
    assert mean_curves([{}, {}]) == {}


def test_a_table_has_the_trained_lengths_and_equal_parts_beyond():
    x = np.arange(1.0, 501.0)
    long = MeanCurve("length", "accuracy", 40, "", x, np.where(x <= 40, 1.0, x / 500)[None])
    parts = ranges([long])
    assert parts == [(1, 40), (41, 155), (156, 270), (271, 385), (386, 500)]
    assert long.mean_over(*parts[0]) == 1.0
    assert long.mean_over(41, 155) == pytest.approx(np.arange(41, 156).mean() / 500)
    assert np.isnan(long.mean_over(600, 700))
    unmarked = MeanCurve("length", "accuracy", None, "", x[:3], x[None, :3])
    assert ranges([unmarked]) == [(1, 1), (2, 2), (3, 3)]
    # Variants that were trained on other lengths.
    shorter = dataclasses.replace(long, mark=20)
    assert ranges([long, shorter, unmarked])[:3] == [(1, 20), (21, 40), (41, 155)]


def test_a_long_curve_is_drawn_as_means_over_neighbors_apart_beyond_the_mark():
    y = RNG.random((5, 500))
    long = MeanCurve("length", "accuracy", 40, "", np.arange(1.0, 501.0), y)
    short = long.averaged(60)
    # 500 places for at most 60 points: windows of nine, of which 40 takes 5 and 460 takes 52.
    assert (len(short.x), short.places) == (57, 9)
    assert short.x[4] < 40 < short.x[5]
    assert short.x[:5].tolist() == [4.5, 12.5, 20.5, 28.5, 36.5]
    # The interval is that of the runs' own means.
    expected = mean_interval(list(y[:, :8].mean(1)))
    assert (short.mean[0], short.low[0], short.high[0]) == pytest.approx(tuple(expected))
    assert long.averaged(500) is long


@pytest.fixture
def with_curves(folder):
    """The example study, whose runs of np and nfg have curves."""
    for variant in ("np", "nfg"):
        for seed in range(5):
            path = folder / "runs" / f"{variant}{seed}" / "result.json"
            y = [1.0, 1.0, 0.5 + 0.1 * seed, 0.5]
            write_json(
                path, {**read_json(path), "curves": {"accuracy_by_length": curve(y)._asdict()}}
            )
    return folder


def test_a_report_shows_curves_as_figure_and_table(with_curves):
    build(with_curves)
    report = with_curves / "report"
    text = (report / "report.md").read_text()
    assert "## Accuracy by length" in text
    assert "| np | 1.0000 | 0.7000 | 0.5000 |" in text
    assert "| rnn |  |  |  |" in text
    assert "dashed: longest trained length, 2." in text
    svg = (report / "accuracy_by_length.svg").read_text()
    assert "test accuracy" in svg
    assert (report / "accuracy_by_length.png").read_bytes().startswith(b"\x89PNG")


def test_variants_of_different_tasks_have_panels(with_curves):
    plan = read_json(with_curves / "study.json")
    points = {
        "np": {"task.length": 9, "model.cell": "np"},
        "nfg": {"task.length": 20, "model.cell": "np"},
        "rnn": {"task.length": 9, "model.cell": "rnn"},
        "a|b": {"task.length": 9, "model.cell": "a$b"},
    }
    plan["study"]["variants"] = points
    write_json(with_curves / "study.json", plan)
    comparison = compare(read_study(with_curves))
    (drawn,) = score_curves(comparison)
    panels = [axes for axes in drawn.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["9", "20"]
    lines = [line for axes in panels for line in axes.get_lines()[:1]]
    # The same cell has the same color and dashes in both: those of the baseline, a whole line.
    assert {(line.get_color(), line.get_linestyle()) for line in lines} == {(ACCENT, "-")}
    assert [text.get_text() for text in drawn.figure.legends[0].get_texts()] == ["np"]
    # The panels of another figure have the same titles and colors.
    panels = learning_curves(comparison).figure.axes[:2]
    assert [axes.get_title(loc="left") for axes in panels] == ["9", "20"]
    colors = [{line.get_label(): line.get_color() for line in axes.lines} for axes in panels]
    assert colors == [{"np": ACCENT, "rnn": COLORS[1]}, {"np": ACCENT}]


def test_variants_that_differ_in_the_task_alone_share_axes_and_a_color(with_curves):
    plan = read_json(with_curves / "study.json")
    plan["study"]["variants"] = {
        name: {"task.length": k, "model.cell": "np"} for k, name in enumerate(SCORES)
    }
    write_json(with_curves / "study.json", plan)
    axes = learning_curves(compare(read_study(with_curves))).figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert {line.get_color() for line in lines.values()} == {ACCENT}
    assert lines["np"].get_linestyle() != lines["nfg"].get_linestyle()


def test_groups_average_their_variants_for_each_seed(folder):
    plan = read_json(folder / "study.json")
    plan["study"]["groups"] = {"both": ["np", "nfg"], "few": ["np", "rnn"], "none": ["a|b"]}
    write_json(folder / "study.json", plan)
    table = groups(compare(read_study(folder)))
    expected = mean_interval(list(np.mean([SCORES["np"], SCORES["nfg"]], axis=0)))
    assert table[1][:3] == ["both", "5", f"{expected.estimate:.4f}"]
    assert table[1][3] == f"{expected.low:.4f} to {expected.high:.4f}"
    assert table[2][:3] == ["few", "2", f"{np.mean([0.94, 0.5, 0.95, 0.6]):.4f}"]
    assert table[3] == ["none", "0", "", ""]
    build(folder)
    assert "## Groups of variants" in (folder / "report" / "report.md").read_text()


def test_the_test_metric_ranks_and_validation_keeps_its_own(tmp_path):
    folder = write_study(tmp_path, "s", {"a": [1.0, 1.0], "b": [2.0, 2.0]})
    for path in folder.glob("runs/*/result.json"):
        result = read_json(path)
        write_json(path, {**result, "test": {"mse": 1.0, "mase": -result["test"]["mse"]}})
    plan = read_json(folder / "study.json")
    plan["study"] |= {"test_metric": "mase", "test_direction": "max"}
    write_json(folder / "study.json", plan)
    comparison = compare(read_study(folder))
    assert [row.variant for row in comparison.rows] == ["a", "b"]
    plan["study"]["test_direction"] = "min"
    write_json(folder / "study.json", plan)
    comparison = compare(read_study(folder))
    assert [row.variant for row in comparison.rows] == ["b", "a"]
    assert compare_pair([read_study(folder)], "b", "a").interval.estimate > 0
    assert [row.valid for row in comparison.rows] == [2.0, 1.0]
    build(folder)
    text = (folder / "report" / "report.md").read_text()
    assert "| test mase |" in text
    assert "valid mse" in text
    header = (folder / "report" / "results.csv").read_text().splitlines()[0]
    assert "valid_mse,test_mase" in header


def test_a_curve_without_a_common_place_has_an_empty_row(folder):
    values = {"np": curve([0.5], x=(1,)), "nfg": curve([0.5], x=(2,))}
    for variant, shown in values.items():
        for seed, x in ((0, shown.x), (1, (3.0,))):
            path = folder / "runs" / f"{variant}{seed}" / "result.json"
            record = {"by_length": shown._replace(x=x)._asdict()}
            write_json(path, {**read_json(path), "curves": record})
    table = score_curve(compare(read_study(folder)), "by_length")
    assert {tuple(row) for row in table[1:]} == {("np",), ("nfg",), ("rnn",), ("a|b",)}
    build(folder)
