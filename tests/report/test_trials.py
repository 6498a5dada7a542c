"""Trials that diverged: which scores they have in expectations."""

import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.figures.curves import expected_best
from lstm_lab.report.render.figures.ranking import trials
from lstm_lab.report.trials import ended_trials, expected_best_of_trials
from tests.helpers.report import row, study


def trial(variant, seed, score=None, status="completed", valid=None):
    return row("tuning", seed, variant=variant, status=status, valid=valid or score, test=score)


def fragile_study(**options):
    """Half of the trials of `fragile` diverge, one of them after a good checkpoint."""
    runs = [trial("fragile", k, 0.9) for k in range(5)]
    runs += [trial("fragile", 5 + k, None, "diverged") for k in range(4)]
    runs += [trial("fragile", 9, 0.99, "diverged")]
    runs += [trial("steady", k, 0.5 + k / 25) for k in range(10)]
    title = {"name": "s", "title": "s", "baseline": None, "claims": []}
    return study(runs, direction="max", **title, **options)


def test_diverged_trials_lower_the_expected_best():
    runs = fragile_study()
    of_fragile = expected_best_of_trials(runs, "fragile", ["fragile", "steady"])
    assert len(of_fragile) == 10
    # The first trial diverges in half of the cases; then it has the worst score of both variants.
    assert of_fragile[0] == pytest.approx((0.9 + 0.5) / 2)
    # Both of two: 5 / 10 * 4 / 9.
    assert of_fragile[1] == pytest.approx(0.9 - 0.4 * 2 / 9)
    assert of_fragile[5:] == pytest.approx(0.9)
    # Among its own trials, no score is worse.
    assert {score for _, score in ended_trials(runs, "fragile")} == {0.9}


def test_a_pruned_trial_has_its_own_score_and_an_open_one_none():
    runs = [trial("a", 0, 0.9), trial("a", 1, 0.3, "pruned"), trial("a", 2, None, "running")]
    runs += [trial("a", 3, None, "failed"), trial("b", 0, None, "diverged")]
    declared = study(runs, direction="max")
    assert [score for _, score in ended_trials(declared, "a")] == [0.9, 0.3]
    assert expected_best_of_trials(declared, "a", "ab") == pytest.approx([0.6, 0.9])
    assert ended_trials(declared, "b") == []


def test_the_figures_say_what_diverged_trials_count_as():
    comparison = compare(fragile_study())
    assert expected_best(comparison).alt.endswith(
        "by variant. A trial that diverged counts as the worst score of all trials."
    )
    assert "of all completed trials" in trials(comparison).alt
