"""The error rates of verdicts, by simulation: the tables of docs/benchmarks.md, "Statistics".

Command: python docs/measurements/verdicts.py stochastic-order
Time: half a minute of one core. Printed: a table in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from lstm_lab.statistics.stochastic_order import THRESHOLD, almost_stochastic_order

Draw = Callable[[np.random.Generator, int], np.ndarray]

# Scores of runs: about normal; with a tail of bad runs; and one run in five that has not learned.
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "log-normal, a tail of bad runs": lambda rng, n: -rng.lognormal(size=n),
    "one in five is 10 deviations lower": lambda rng, n: (
        rng.normal(size=n) - 10.0 * (rng.random(n) < 0.2)
    ),
}


def stochastic_order(studies: int = 4000) -> None:
    """Prints how often one of two equal variants seems to be stochastically above the other."""
    print(f"| scores | seeds | eps_min < {THRESHOLD} | eps_min < 0.5 |\n|---|---|---|---|")
    for name, draw in DISTRIBUTIONS.items():
        for n in (3, 5, 10, 20):
            rng = np.random.default_rng(n)
            bounds = np.array(
                [
                    almost_stochastic_order(draw(rng, n), draw(rng, n), seed=k).a_above_b
                    for k in range(studies)
                ]
            )
            shares = [f"{np.mean(bounds < limit) * 100:.1f} %" for limit in (THRESHOLD, 0.5)]
            print(f"| {name} | {n} and {n} | {' | '.join(shares)} |")


TABLES = {"stochastic-order": stochastic_order}

if __name__ == "__main__":
    TABLES[sys.argv[1]]()
