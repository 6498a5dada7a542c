"""Groups of variants in a study without final seeds, whose trials may share seeds."""

import numpy as np
import pytest
from scipy.stats import t

from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import compare_pair
from lstm_lab.report.render.averages import groups
from lstm_lab.report.render.tables import sections
from tests.helpers.report import row, study

SCORES = {"a": np.arange(1, 10) / 10, "b": np.array([0.5, 0.7])}


def trials_study(groups=None, seed=lambda k: 100):
    runs = [
        row("tuning", seed(k), variant=variant, valid=score, test=float(score))
        for variant, scores in SCORES.items()
        for k, score in enumerate(scores)
    ]
    declared = {"name": "s", "title": "s", "baseline": None, "claims": [], "top": 1.0}
    return study(runs, direction="max", groups=groups or {}, **declared)


def test_a_group_of_trials_that_share_a_seed_has_all_of_them():
    c = compare(trials_study({"one": ["a"], "both": ["a", "b"]}))
    row_of_a = next(row for row in c.rows if row.variant == "a")
    mean, n = c.groups["one"]
    assert (n, mean) == (9, pytest.approx(row_of_a.mean))
    mean, n = c.groups["both"]
    assert (n, mean.estimate) == (11, pytest.approx(0.55))
    v = [np.var(scores, ddof=1) / len(scores) for scores in SCORES.values()]
    freedom = sum(v) ** 2 / (v[0] ** 2 / 8 + v[1] ** 2)
    assert mean.high - mean.estimate == pytest.approx(t.ppf(0.975, freedom) * sum(v) ** 0.5 / 2)
    assert groups(c)[0][1] == "trials"
    (section,) = [s for s in sections(c) if s.heading == "Groups of variants"]
    assert "over the compared trials" in section.note


def test_trials_form_no_pairs():
    """The seed of a random trial is its number: it says nothing about that of another variant."""
    pair = compare_pair([trials_study(seed=lambda k: k)], "a", "b")
    assert [len(d) for d in pair.differences] == [0]
    assert pair.verdict == "inconclusive"
