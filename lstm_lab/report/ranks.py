"""Ranks of the variants within blocks: the seeds of one task, or several tasks.

In: the compared runs of each variant. Out: `FriedmanResult`, which `comparison` stores.
"""

from __future__ import annotations

from collections.abc import Mapping

from lstm_lab.report.means import exact_mean
from lstm_lab.report.runs import RunRow, scores_by_seed, scores_of
from lstm_lab.statistics.hypotheses import FriedmanResult, friedman


def rank(
    compared: Mapping[str, list[RunRow]],
    labels: Mapping[str, tuple[str, str]],
    tasks: Mapping[str, list[str]],
    sign: float,
) -> FriedmanResult | None:
    """Ranks the variants within seeds; with several tasks, what is not the task, within the tasks.

    Several tasks are Demsar's design: each task is one block, with the mean score of its seeds.
    Within seeds, the scores of different tasks would be ranked, and the easiest task would win.

    Args:
      compared: the compared runs of each variant.
      labels: as `split_labels` returns them.
      tasks: as `variants_by_task` returns them.
      sign: 1 if a higher score is better, else -1.

    Returns:
      The ranks over the blocks that all have; None for fewer than three blocks, or fewer than three
      to rank.
    """
    scores: dict[str, dict[str, float]] = {}
    for name, runs in compared.items():
        task, other = labels[name]
        if len(tasks) == 1:
            scores[name] = {str(seed): score for seed, score in scores_by_seed(runs).items()}
        elif of_task := scores_of(runs):
            scores.setdefault(other, {})[task] = exact_mean(of_task)
    # One without any score would leave no block that all share.
    scores = {name: by_block for name, by_block in scores.items() if by_block}
    shared = sorted(set.intersection(*map(set, scores.values()))) if scores else []
    if len(scores) < 3 or len(shared) < 3:
        return None
    return friedman(
        {name: [sign * by_block[block] for block in shared] for name, by_block in scores.items()}
    )
