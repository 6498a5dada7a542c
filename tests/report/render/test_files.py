"""Reports from run folders: their numbers, failed runs and files; they work without JAX."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from pyarrow import parquet

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.figures.curves import learning_curves
from lstm_lab.report.render.files import build
from lstm_lab.report.render.results_table import as_parquet
from lstm_lab.report.runs import read_study
from lstm_lab.statistics.bayes import posterior_of_folds, posterior_of_means
from lstm_lab.statistics.stochastic_order import almost_stochastic_order
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json, write_lines
from tests.helpers.report import SCORES


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, 0.5], [1.0, 0.5]),
        (["adam", None], ["adam", None]),
        ([[64, 32], None], ["[64, 32]", None]),
        ([True, 3], ["true", "3"]),
        ([None, None], [None, None]),
    ],
)
def test_every_parquet_column_has_one_type(column, stored):
    table = parquet.read_table(io.BytesIO(as_parquet(["x"], [[value] for value in column])))
    assert table["x"].to_pylist() == stored


def test_the_comparison_holds_estimates_tests_and_failures(folder):
    comparison = compare(read_study(folder))
    assert [row.variant for row in comparison.rows] == ["np", "nfg", "rnn", "a|b"]
    best, second, third, last = comparison.rows
    assert np.isnan(best.p_welch)
    assert second.verdict == "differs"
    assert second.p_holm == pytest.approx(min(1, 2 * second.p_welch))
    # All five pairs have the same sign; the probability of that is 1/32 per side.
    assert second.p_wilcoxon == pytest.approx(2 / 32)
    assert (second.improvement, second.hedges_g < -4) == (0.0, True)
    assert comparison.pairwise["np", "nfg"] < 0.05
    assert comparison.friedman is None  # only two seeds have all variants
    assert third.failures == {"diverged": 3}
    assert last.failures == {"missing": 5}
    assert last.verdict == ""
    (judged,) = comparison.claims
    assert (judged.claim, judged.verdict) == ("np is better than nfg", "holds")
    assert judged.evidence == "difference of means +0.0500, p < 0.0001"


def with_study_fields(folder, **fields):
    """Returns the folder after a change of its declaration."""
    plan = json.loads((folder / "study.json").read_text())
    write_json(folder / "study.json", {**plan, "study": {**plan["study"], **fields}})
    return folder


def test_the_posterior_is_of_the_difference_to_the_baseline(folder):
    best, second, third, last = compare(read_study(folder)).rows
    assert np.isnan(best.posterior).all()
    assert second.posterior == posterior_of_means(SCORES["nfg"], SCORES["np"])
    assert second.posterior.worse > 0.999
    # Two runs of five leave doubt; none leaves no posterior.
    assert second.posterior.worse > third.posterior.worse > 0.9
    assert np.isnan(last.posterior).all()


def test_the_posterior_of_a_cross_validation_is_over_folds(folder):
    row = compare(read_study(with_study_fields(folder, folds=5))).rows[1]
    pairs = np.subtract(SCORES["nfg"], SCORES["np"])
    assert row.posterior == pytest.approx(posterior_of_folds(pairs, 5))


def test_a_rope_adds_the_probability_of_equality(folder):
    build(folder)
    report = (folder / "report" / "report.md").read_text()
    assert "P(better)" in report
    assert "| P(equal) |" not in report
    build(with_study_fields(folder, rope=0.06))
    report = (folder / "report" / "report.md").read_text()
    assert "Equal: a difference of at most 0.06" in report
    row = compare(read_study(folder)).rows[1]
    line = next(line for line in report.splitlines() if line.startswith("| nfg | -0.0500"))
    assert line.endswith(f"{row.posterior.equal:.3f} | {row.posterior.worse:.3f} |")
    assert row.posterior.equal > 0.9


def test_build_writes_the_table_and_all_files(folder):
    text = build(folder)
    assert "3 diverged" in text
    assert "unequal numbers of runs" in text
    assert "rnn 2, a|b 0" in text
    assert "holds" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["np", "0.9000", "0.9420", "0.7000"] in rows
    assert ["trivial:", "constant", "0.2500"] in rows
    report = (folder / "report" / "report.md").read_text()
    assert r"| a\|b |" in report
    assert "![" in report
    with (folder / "report" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert rows[0]["test_accuracy"] == "0.94"
    table = parquet.read_table(folder / "report" / "results.parquet")
    assert table.column_names == list(rows[0])
    assert table["test_accuracy"].to_pylist()[:5] == SCORES["np"]
    assert table["test_accuracy"].null_count == sum(row["test_accuracy"] == "" for row in rows)
    assert (folder / "report" / "ranking.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report" / "curves.svg").read_text().startswith("<svg")
    table = (folder / "report" / "table.tex").read_text()
    assert r"\toprule" in table
    assert (
        r"nfg & 100 & 5 & 0 & 0.8920 & 0.8816 to 0.9024 & <0.0001 & <0.0001 & differs \\" in table
    )


def test_a_report_needs_no_jax(folder):
    code = (
        "import sys; from pathlib import Path; from lstm_lab.cli import main; "
        f"code = main(['report', '--workdir={folder}']); "
        "assert 'jax' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "np is better than nfg" in done.stdout


def test_a_folder_without_a_study_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is not a study"):
        build(tmp_path)
    (tmp_path / "study.json").write_text("{half")
    with pytest.raises(UserError, match="missing or damaged"):
        build(tmp_path)


def test_stochastic_orders_need_five_runs_and_are_corrected_for_the_variants(folder):
    best, second, third, _ = compare(read_study(folder)).rows
    # Only nfg has five runs, so it is the one comparison.
    assert second.order == almost_stochastic_order(SCORES["nfg"], SCORES["np"])
    assert second.order.b_above_a < 0.2
    assert np.isnan([*best.order, *third.order]).all()
    build(folder)
    report = (folder / "report" / "report.md").read_text()
    assert "| nfg | 1.000 | 1.000 | 0.000 | worse |" in report
    assert "Almost stochastic order" in (folder / "report" / "report.html").read_text()
    # The scores of folds depend on each other.
    folds = compare(read_study(with_study_fields(folder, folds=5)))
    assert np.isnan([row.order.ratio for row in folds.rows]).all()


def test_all_numbers_are_in_a_json_file(folder):
    build(folder)
    numbers = json.loads((folder / "report" / "report.json").read_text())
    rows = {row["variant"]: row for row in numbers["rows"]}
    comparison = compare(read_study(folder))
    for row in comparison.rows:
        written = rows[row.variant]
        assert written["scores"] == row.scores
        assert written["order"].keys() == {"ratio", "a_above_b", "b_above_a"}
    pair = next(p for p in numbers["pairwise"] if (p["a"], p["b"]) == ("np", "nfg"))
    assert pair["p"] == comparison.pairwise["np", "nfg"]
    assert rows["nfg"]["posterior"]["worse"] == comparison.rows[1].posterior.worse
    assert rows["np"]["p_welch"] is None


def test_learning_curves_show_all_of_a_short_curve_and_its_band(folder):
    rng = np.random.default_rng(0)
    for path in sorted((folder / "runs").glob("n*")):
        values = (0.9, 0.2 + 0.2 * rng.random(), 0.1)
        rows = [
            {"step": step, "split": "valid", "accuracy": value}
            for step, value in enumerate(values, 1)
        ]
        write_lines(path / "metrics.jsonl", rows)
    (axes,) = learning_curves(compare(read_study(folder))).figure.axes
    low, high = axes.get_ylim()
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    for points_N2 in (*(line.get_xydata() for line in axes.get_lines()), *bands):
        assert low < points_N2[:, 1].min()
        assert points_N2[:, 1].max() < high
