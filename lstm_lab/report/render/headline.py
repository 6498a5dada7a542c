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
    text = _best_by_task(c) if c.crosses_tasks else _best(c, c.best_of(c.labels))
    if c.baseline is not None:
        verdicts = ("differs", "better", "worse")
        different = [row.variant for row in scored if row.verdict in verdicts]
        where = " on its task" if c.crosses_tasks else ""
        listed = ", ".join(different) or "none"
        text += f" Significantly different from {c.baseline}{where}: {listed}."
    return text


def _best(c: Comparison, best: list[VariantRow]) -> str:
    names, score = ", ".join(row.variant for row in best), number(best[0].mean.estimate)
    text = f"{'Tied for best' if len(best) > 1 else 'Best'}: {names}, test {c.test_metric} {score}"
    counts = sorted({len(row.scores) for row in best})
    runs = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return text + (" in one run." if counts == [1] else f" over {runs} runs.")


def _best_by_task(c: Comparison) -> str:
    """Returns the mean ranks over the tasks, or with too little to rank, who is best how often."""
    if c.friedman is not None:
        ranks = sorted(c.friedman.mean_ranks.items(), key=lambda item: item[1])
        listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
        return f"Mean rank over {c.friedman.n_blocks} tasks, 1 is best: {listed}."
    best = [c.best_of(names) for names in c.tasks.values()]
    best = [rows for rows in best if rows]
    wins = Counter(c.labels[row.variant][1] for rows in best for row in rows)
    tied = Counter(c.labels[row.variant][1] for rows in best for row in rows if len(rows) > 1)
    listed = ", ".join(
        f"{name} {n} of {len(best)}" + (f" ({tied[name]} tied)" if tied[name] else "")
        for name, n in wins.most_common()
    )
    return f"Tasks on which each has the best mean test {c.test_metric}: {listed}."
