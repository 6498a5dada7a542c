"""The table of the Bayesian comparison, and how to read it.

In: a `Comparison`. Out: rows of text. `statistics/bayes.py` computes the numbers.
"""

from __future__ import annotations

import numpy as np

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.formats import bounds, number
from lstm_lab.statistics.estimates import Interval


def posteriors(c: Comparison) -> list[list[str]]:
    """Returns how probable it is that each variant is better than the baseline, equal or worse.

    Args:
      c: the comparison; cells stay empty for what too few runs cannot give.
    """
    header = ["variant", "better by", "95 % interval", "P(better)"]
    table = [[*header, *(["P(equal)", "P(worse)"] if c.rope else ["P(worse)"])]]
    for row in c.rows:
        p = row.posterior
        shares = (p.better, p.equal, p.worse) if c.rope else (p.better, p.worse)
        cells = [number(p.difference), bounds(Interval(p.difference, p.low, p.high))]
        cells += [_probability(share) for share in shares]
        if row.variant == c.baseline:
            cells[0] = "baseline"
        table.append([row.variant, *cells])
    return table


def _probability(share: float) -> str:
    """Returns a probability for a table; empty for NaN. None is shown as certain."""
    if np.isnan(share):
        return ""
    return "< 0.001" if share < 0.001 else "> 0.999" if share > 0.999 else f"{share:.3f}"


def posteriors_note(c: Comparison) -> str:
    """Returns how to read the table.

    Args:
      c: the comparison.
    """
    method = (
        f"Student's t over the {c.folds} folds, whose correlation widens it (Corani and Benavoli "
        "2015)"
        if c.folds
        else "independent means with flat priors"
    )
    equal = (
        f"Equal: a difference of at most {c.rope:g}, the study's rope."
        if c.rope
        else "With a rope, the study says which differences do not matter: that adds P(equal)."
    )
    return (
        f"The posterior of the difference of means to {c.baseline}, positive if the variant is "
        f"better: {method}. {equal} Not corrected for the number of variants."
    )
