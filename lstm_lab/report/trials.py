"""The trials of a variant that have ended, with a score for each.

In: `StudyRuns`. Out: scores for the importances of `verdicts`, and the expected best of k trials,
which `comparison` stores.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lstm_lab.report.runs import RunRow, StudyRuns, scores_of
from lstm_lab.statistics.estimates import expected_best


def ended_trials(
    runs: StudyRuns, variant: str, among: Iterable[str] = ()
) -> list[tuple[RunRow, float]]:
    """Returns the tuning runs of a variant that have ended, each with its test score.

    A diverged trial gets the worst score of the others, a pruned trial its own score. Without them
    a large learning rate would look harmless, and a variant of which half of the trials diverge as
    good as one of which none does.

    Args:
      runs: the study.
      variant: its label.
      among: variants whose trials may have the worst score, besides those of this one.

    Returns:
      The runs and their scores; empty if none has completed.
    """
    trials = [run for run in runs.runs if run.stage == "tuning"]
    own = [run for run in trials if run.variant == variant]
    ended = [run for run in own if run.scored or run.status in ("diverged", "pruned")]
    if not scores_of(ended):
        return []
    scores = scores_of(run for run in trials if run.variant in {variant, *among})
    # A finite score: infinity would make every variance infinite.
    worst = min(scores) if runs.test_direction == "max" else max(scores)
    return [(run, worst if _is_lost(run) else float(run.test or 0.0)) for run in ended]


def _is_lost(run: RunRow) -> bool:
    # A diverged run may have metrics of its best weights, from before it diverged.
    return run.status == "diverged" or run.test is None


def expected_best_of_trials(runs: StudyRuns, variant: str, of_task: Iterable[str]) -> np.ndarray:
    """Returns the expected test score of the best of k trials, for k = 1, 2, ...

    Args:
      runs: the study.
      variant: its label.
      of_task: the variants of its task. A diverged trial has the worst score of all their trials:
        of a variant whose trials either diverge or are good, every score is good.
    """
    trials = ended_trials(runs, variant, of_task)
    sign = 1.0 if runs.study["direction"] == "max" else -1.0
    # Selected on validation, reported on test: the best test score itself would be too good.
    valid = [
        float("nan") if _is_lost(run) or run.valid is None else sign * run.valid
        for run, _ in trials
    ]
    return expected_best(valid, [score for _, score in trials])
