"""Several studies together: means and ranks, and a pairwise comparison with a known error rate."""

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import combine, compare_pair
from lstm_lab.report.render.cross_study import build_cross_study_report
from lstm_lab.report.runs import read_study
from lstm_lab.statistics.hypotheses import sign_flip
from lstm_lab.utils.files import read_json
from tests.helpers.report import write_study


def compare_shifted(tmp_path, shifts, seed=0, n=5, names=("base", "mine")):
    """Compares two variants over studies; in study k the second is better by `shifts[k]`."""
    rng = np.random.default_rng(seed)
    studies = []
    for k, shift in enumerate(shifts):
        scores = {names[0]: rng.normal(size=n), names[1]: rng.normal(size=n) - shift}
        studies.append(read_study(write_study(tmp_path / f"{seed}_{k}", f"task {k}", scores)))
    return compare_pair(studies, names[1], names[0])


def test_pairwise_verdicts_follow_the_shift(tmp_path):
    assert compare_shifted(tmp_path, [2.0] * 4).verdict == "better"
    assert compare_shifted(tmp_path, [-2.0] * 4, seed=1).verdict == "worse"
    assert compare_shifted(tmp_path, [0.0] * 2, seed=2).verdict == "inconclusive"
    assert compare_shifted(tmp_path, [0.0] * 4, seed=6, n=40).verdict == "equivalent"
    # A variant that is better on one task and equally worse on another is not better.
    assert compare_shifted(tmp_path, [2.0, -2.0], seed=4).verdict == "inconclusive"


def test_a_renamed_baseline_is_equivalent(tmp_path):
    scores = np.random.default_rng(0).normal(size=5)
    folder = write_study(tmp_path, "same", {"base": scores, "mine": scores})
    pair = compare_pair([read_study(folder)], "mine", "base")
    assert pair.verdict == "equivalent"
    assert (pair.p_better, pair.p_worse) == (1.0, 1.0)
    assert pair.interval == (0.0, 0.0, 0.0)


def test_scores_that_never_vary_count_by_their_sign(tmp_path):
    """The rounded mean of 0.97 six times leaves a deviation of 1e-16, which is no scale."""
    scores = {"base": [0.97] * 6, "mine": [0.95] * 6}
    pair = compare_pair([read_study(write_study(tmp_path, "same", scores))], "mine", "base")
    assert pair.interval == (1.0, 1.0, 1.0)


def test_sign_flips_are_exact_for_few_pairs():
    """Two of eight sign patterns reach the observed mean: no flip, and a flip of the zero alone."""
    d = np.array([1.0, 2.0, 0.0])
    assert sign_flip([d]) == pytest.approx(2 / 8, abs=0.01)
    assert sign_flip([-d]) == pytest.approx(1.0)
    assert np.isnan(sign_flip([]))


def test_a_variant_equal_to_the_baseline_is_rarely_called_better():
    """One distribution, five seeds on six tasks: at most 5 % better, and at most 5 % worse."""
    rng, comparisons = np.random.default_rng(5), 400
    better = worse = 0
    for _ in range(comparisons):
        pairs = rng.normal(size=(6, 2, 5))
        scale = np.sqrt(pairs.var(axis=2, ddof=1).mean(axis=1))
        d = list((pairs[:, 0] - pairs[:, 1]) / scale[:, None])
        better += sign_flip(d, flips=2000) < 0.05
        worse += sign_flip([-x for x in d], flips=2000) < 0.05
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / comparisons)
    assert better / comparisons < bound
    assert worse / comparisons < bound


def test_several_studies_give_means_ranks_and_a_report(tmp_path):
    rng = np.random.default_rng(0)
    folders = [
        write_study(
            tmp_path / str(k),
            f"task {k}",
            {name: m + rng.normal(0, 0.1, 5) for name, m in (("a", 3.0), ("b", 2.0), ("c", 1.0))},
        )
        for k in range(3)
    ]
    combined = combine([compare(read_study(folder)) for folder in folders])
    assert combined.friedman is not None
    assert combined.friedman.mean_ranks == {"a": 3.0, "b": 2.0, "c": 1.0}
    assert [round(i.estimate) for i in combined.means["c"]] == [1, 1, 1]
    text = build_cross_study_report(folders, tmp_path / "out", "Three tasks")
    assert "mean rank" in text
    assert "Three tasks" in (tmp_path / "out" / "report.html").read_text()
    assert (folders[0] / "report" / "report.html").exists()
    plan = read_json(folders[0] / "study.json")
    assert plan["study"]["name"] == "task 0"
