"""The table of almost stochastic order, and how to read it.

In: a `Comparison`. Out: rows of text. `statistics/stochastic_order.py` computes the numbers.
"""

from __future__ import annotations

from lstm_lab.report.against_baseline import ALPHA
from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.formats import number
from lstm_lab.statistics.stochastic_order import MIN_SCORES, THRESHOLD, StochasticOrder


def stochastic_orders(c: Comparison) -> list[list[str]]:
    """Returns how nearly the scores of each variant are above those of the baseline.

    Args:
      c: the comparison; cells stay empty for what too few runs cannot give.
    """
    header = ["variant", "violation ratio", "eps_min (better)", "eps_min (worse)", "order"]
    table = [header]
    for row in c.rows:
        order = row.order
        ratio = "baseline" if row.variant == c.baseline else number(order.ratio, 3)
        bounds = [number(bound, 3) for bound in (order.a_above_b, order.b_above_a)]
        table.append([row.variant, ratio, *bounds, _order(order)])
    return table


def _order(order: StochasticOrder) -> str:
    """Returns which side is shown to be above the other; empty for NaN."""
    if order.a_above_b < THRESHOLD:
        return "better"
    if order.b_above_a < THRESHOLD:
        return "worse"
    # NaN is not below the threshold; it is no result either.
    return "" if order.ratio != order.ratio else "no order shown"


def stochastic_orders_note(c: Comparison) -> str:
    """Returns how to read the table.

    Args:
      c: the comparison.
    """
    return (
        "Violation ratio: 0 if the variant is better at every quantile of the scores, 1 if "
        f"{c.baseline} is. eps_min: its upper bound at the level {ALPHA}, divided by the number of "
        f"variants (Bonferroni), for the two directions. Below {THRESHOLD}, the advice of Ulmer et "
        f"al. 2022, the order counts as shown. It needs {MIN_SCORES} runs on each side (Dror et "
        "al. 2019)."
    )
