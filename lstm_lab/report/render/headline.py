"""The result of a study in one or two sentences.

In: a `Comparison`. Out: text, which stands on top of the page and at the end of the output.
"""

from __future__ import annotations

from collections import Counter

from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.report.render.formats import number


def headline(c: Comparison) -> str:
    """Returns the result in one or two sentences.

    Args:
      c: the comparison; it may have no score yet.
    """
    scored = [row for row in c.rows if row.scores]
    if not scored:
        return "No run has completed yet."
    text = _best_by_task(c) if c.crosses_tasks else _best(c, scored[0])
    if c.baseline is not None:
        verdicts = ("differs", "better", "worse")
        different = [row.variant for row in scored if row.verdict in verdicts]
        text += f" Significantly different from {c.baseline}: {', '.join(different) or 'none'}."
    return text


def _best(c: Comparison, best: VariantRow) -> str:
    text = f"Best: {best.variant}, test {c.test_metric} {number(best.mean.estimate)}"
    return text + (f" over {len(best.scores)} runs." if len(best.scores) > 1 else " in one run.")


def _best_by_task(c: Comparison) -> str:
    """Returns the mean ranks over the tasks, or with too little to rank, who is best how often."""
    if c.friedman is not None:
        ranks = sorted(c.friedman.mean_ranks.items(), key=lambda item: item[1])
        listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
        return f"Mean rank over {c.friedman.n_blocks} tasks, 1 is best: {listed}."
    # The first row of a task is its best one: `compare` sorts them.
    best: dict[str, str] = {}
    for row in c.rows:
        task, other = c.labels[row.variant]
        if row.scores:
            best.setdefault(task, other)
    wins = Counter(best.values())
    listed = ", ".join(f"{name} {n} of {wins.total()}" for name, n in wins.most_common())
    return f"Tasks on which each has the best mean test {c.test_metric}: {listed}."
