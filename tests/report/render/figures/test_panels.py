"""The notes on variants that a figure of curves leaves out."""

import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.figures.curves import learning_curves
from lstm_lab.report.runs import read_study
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import write_curves


def notes(folder, n_variants, baseline, tasks, n_failed=0):
    """Returns the notes of learning curves of a study with this many variants on each task."""
    curve = [(1, 0.2), (2, 0.1)]
    names = [f"v{k}_{task}" for task in range(tasks) for k in range(n_variants)]
    failed = names[:n_failed]
    write_curves(folder, {name: [[]] if name in failed else [curve] for name in names})
    for name in failed:
        (folder / "runs" / f"{name}0" / "result.json").unlink()
    plan = read_json(folder / "study.json")
    plan["study"]["variants"] = {
        name: {"task.length": int(name[-1]), "model.cell": name[:-2]} for name in names
    }
    plan["study"]["baseline"] = baseline
    write_json(folder / "study.json", plan)
    figure = learning_curves(compare(read_study(folder))).figure
    titles = [legend.get_title().get_text() for legend in figure.legends]
    titles += [axes.get_title(loc="right") for axes in figure.axes]
    return [title for title in titles if title]


@pytest.mark.parametrize(("n_variants", "tasks"), [(6, 2), (10, 1)])
def test_a_failed_variant_is_not_left_out_for_the_number_of_curves(tmp_path, n_variants, tasks):
    assert notes(tmp_path, n_variants, None, tasks, n_failed=1) == []


@pytest.mark.parametrize(
    ("baseline", "tasks", "note"),
    [
        (None, 2, "at most the best 8 of each task"),
        ("v0_0", 2, "at most the best 8 of each task, and the baseline"),
        (None, 1, "the best 8 and the last"),
        ("v0_0", 1, "the best 8, the baseline and the last"),
    ],
)
def test_a_note_names_the_curves_if_some_are_left_out(tmp_path, baseline, tasks, note):
    assert notes(tmp_path, 11, baseline, tasks) == [note]
