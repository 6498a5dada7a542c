"""Studies that cross tasks: nothing compares the scores of different tasks."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import combine
from lstm_lab.report.render.figures.draw import draw_figures
from lstm_lab.report.render.figures.significance import significance
from lstm_lab.report.render.headline import headline
from lstm_lab.report.render.tables import ranking, references, sections
from lstm_lab.report.runs import read_study
from lstm_lab.results.labels import variants_by_task
from lstm_lab.statistics.hypotheses import holm, welch
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import crossing_study, write_study

LENGTHS, CELLS = (9, 20, 40), ("lstm", "gru", "rnn")
# On every length the errors of lstm are the smallest; those of a length are near each other.
ERRORS = {(length, cell): length + k for length in LENGTHS for k, cell in enumerate(CELLS)}
NOISE = np.array([0.0, 0.1, -0.1, 0.2, -0.2])


@pytest.fixture
def crossing(tmp_path):
    """A study of three cells on three lengths; lower is better."""
    scores = {f"{cell}{n}": error + NOISE for (n, cell), error in ERRORS.items()}
    write_study(tmp_path, "crossing", scores)
    plan = read_json(tmp_path / "study.json")
    plan["study"]["variants"] = {
        f"{cell}{n}": {"task.length": n, "model.cell": cell} for n, cell in ERRORS
    }
    plan["study"]["references"] = [
        {"label": "all", "value": 9.0, "source": "", "variant": None},
        {"label": "lstm", "value": 9.0, "source": "", "variant": "lstm9"},
    ]
    write_json(tmp_path / "study.json", plan)
    return tmp_path


def test_only_pairs_of_one_task_are_compared(crossing):
    c = compare(read_study(crossing))
    assert c.crosses_tasks
    assert len(c.pairwise) == 9
    assert all(a.lstrip("lstmgrun") == b.lstrip("lstmgrun") for a, b in c.pairwise)
    pairs = [(ERRORS[n, "lstm"] + NOISE, ERRORS[n, "gru"] + NOISE) for n in LENGTHS]
    pairs += [(ERRORS[n, "lstm"] + NOISE, ERRORS[n, "rnn"] + NOISE) for n in LENGTHS]
    pairs += [(ERRORS[n, "gru"] + NOISE, ERRORS[n, "rnn"] + NOISE) for n in LENGTHS]
    expected = holm([welch(a, b) for a, b in pairs])[0]
    assert c.pairwise["lstm9", "gru9"] == pytest.approx(expected)
    # The baseline is a variant of the first task: the other tasks have nothing to compare with.
    tested = [row.variant for row in c.rows if np.isfinite(row.p_welch)]
    assert tested == ["gru9", "rnn9"]


def test_rows_keep_their_tasks_together_and_ranks_are_within_tasks(crossing):
    c = compare(read_study(crossing))
    assert [row.variant for row in c.rows] == [f"{cell}{n}" for n in LENGTHS for cell in CELLS]
    assert c.friedman.mean_ranks == {"lstm": 1.0, "gru": 2.0, "rnn": 3.0}
    assert c.friedman.n_blocks == 3
    assert headline(c).startswith("Mean rank over 3 tasks, 1 is best: lstm 1.00, gru 2.00, rnn 3.0")
    assert [row[0] for row in ranking(c)[1:4]] == ["lstm9", "gru9", "rnn9"]
    # A published score that names no variant has no task, so no variant to compare with.
    assert [row[3] for row in references(c)[1:]] == ["", "lstm9: 9.0000"]


def test_a_table_has_a_row_per_task_and_figures_have_a_panel(crossing):
    c = compare(read_study(crossing))
    first = sections(c)[0]
    assert first.heading == "Scores by task"
    assert first.table[0] == ["task", *CELLS]
    assert first.table[1] == ["9", "9.0000 ± 0.1963", "10.0000 ± 0.1963", "11.0000 ± 0.1963"]
    figures = {figure.name: figure.figure for figure in draw_figures(c)}
    assert next(iter(figures)) == "scores_by_task"
    for name in ("ranking", "significance"):
        titles = [axes.get_title(loc="left") for axes in figures[name].axes]
        assert titles == ["9", "20", "40"], name
    texts = [text.get_text() for text in figures["scores_by_task"].axes[0].texts]
    assert texts[:3] == ["9.00", "10.0", "11.0"]


def test_equal_means_tie_in_any_order_and_number_of_scores(tmp_path):
    """NumPy's means differ in the last bit: 0.7 three and five times, and a sum in two orders."""
    scores = {"x": [[0.7] * 3] * 3, "y": [[0.7] * 5] * 3, "z": [[0.1] * 5] * 3}
    c = compare(read_study(crossing_study(tmp_path / "numbers", scores)))
    assert c.friedman.mean_ranks == {"x": 1.5, "y": 1.5, "z": 3.0}
    scores = {"x": [[0.9, 0.8, 0.7]] * 3, "y": [[0.7, 0.8, 0.9]] * 3, "z": [[0.1] * 3] * 3}
    c = compare(read_study(crossing_study(tmp_path / "orders", scores)))
    assert c.friedman.mean_ranks == {"x": 1.5, "y": 1.5, "z": 3.0}
    assert len({row.mean.estimate for row in c.rows if row.variant[0] != "z"}) == 1
    # In the report over several studies, too.
    studies = []
    for k in range(3):
        of_cells = {"x": [0.9, 0.8, 0.7], "y": [0.7, 0.8, 0.9], "z": [0.1] * 3}
        studies.append(compare(read_study(write_study(tmp_path / f"s{k}", "s", of_cells, "max"))))
    assert combine(studies).friedman.mean_ranks == {"x": 1.5, "y": 1.5, "z": 3.0}


def test_headlines_and_captions_name_all_that_are_tied(tmp_path):
    perfect = {"x": [[1.0] * 3, [1.0] * 2], "y": [[1.0] * 3, [0.9] * 3], "z": [[0.5], [1.0]]}
    c = compare(read_study(crossing_study(tmp_path / "tasks", perfect)))
    assert headline(c) == (
        "Tasks on which each has the best mean test mse: "
        "x 2 of 2 (2 tied), y 1 of 2 (1 tied), z 1 of 2 (1 tied)."
    )
    tied = {"x": [1.0, 1.0], "y": [1.0, 1.0, 1.0], "z": [0.5]}
    c = compare(read_study(write_study(tmp_path / "one", "one", tied, "max")))
    assert headline(c).startswith("Tied for best: x, y, test mse 1.0000 over 2 to 3 runs.")
    published = [{"label": "all", "value": 0.9, "source": "", "variant": None}]
    assert references(replace(c, references=published))[1][3] == "x, y: 1.0000"
    figures = {figure.name: figure.alt for figure in draw_figures(c)}
    assert figures["ranking"].endswith("; tied for best are x, y.")
    same = {name: [1.0] * 3 for name in "xyz"}
    c = compare(read_study(write_study(tmp_path / "seeds", "seeds", same, "max")))
    figures = {figure.name: figure.alt for figure in draw_figures(c)}
    assert figures["ranks"].endswith("; tied for best are x, y, z.")


def test_with_two_tasks_the_headline_counts_wins(crossing):
    plan = read_json(crossing / "study.json")
    for name in list(plan["study"]["variants"]):
        if name.endswith("40"):
            del plan["study"]["variants"][name]
    plan["runs"] = {
        run: row for run, row in plan["runs"].items() if not row["variant"].endswith("40")
    }
    write_json(crossing / "study.json", plan)
    c = compare(read_study(crossing))
    assert c.friedman is None
    assert headline(c).startswith("Tasks on which each has the best mean test mse: lstm 2 of 2.")
    # Of the other task, no variant is compared with the baseline.
    assert "Significantly different from lstm9 on its task: gru9, rnn9." in headline(c)


def test_a_study_of_one_task_or_of_one_cell_crosses_nothing():
    one_task = {"a": ("", "lstm"), "b": ("", "gru")}
    one_cell = {"a": ("9", ""), "b": ("20", "")}
    for labels in (one_task, one_cell):
        assert variants_by_task(labels) == {"": ["a", "b"]}


def test_a_metric_that_some_runs_lack_has_no_mean(crossing):
    path = crossing / "runs" / "gru90" / "result.json"
    result = read_json(path)
    write_json(path, {**result, "test": {**result["test"], "extra": 1.0}})
    rows = {row.variant: row for row in compare(read_study(crossing)).rows}
    assert list(rows["gru9"].test_metrics) == ["mse"]


def test_a_study_of_one_task_has_one_matrix(folder):
    (axes,) = significance(compare(read_study(folder))).figure.axes
    assert axes.get_title(loc="left") == ""
