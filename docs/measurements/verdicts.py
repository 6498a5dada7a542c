"""The error rates of verdicts, by simulation: the tables of docs/benchmarks.md, "Statistics".

Commands: python docs/measurements/verdicts.py stochastic-order
          python docs/measurements/verdicts.py sequential
Time: half a minute and two minutes of one core. Printed: a table in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.stats import ttest_ind

from lstm_lab.statistics.sequential import nominal_levels
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


# (first, step, most) seeds.
PLANS = ((5, 5, 30), (10, 10, 30), (5, 5, 15))


def sequential(studies: int = 40_000) -> None:
    """Prints how often a comparison with looks ends with a difference, and after how many seeds."""
    print("| scores | seeds | deviations | differs | one look | mean seeds |")
    print("|---|---|---|---|---|---|")
    for name, draw in DISTRIBUTIONS.items():
        for first, step, most in PLANS:
            for effect in (0.0, 0.5, 1.0, 2.0) if name == "normal" else (0.0,):
                found, once, seeds = _with_looks(draw, effect, (first, step, most), studies)
                shares = f"{100 * found:.1f} % | {100 * once:.1f} %"
                plan = f"{first}, {first + step}, ... {most}"
                print(f"| {name} | {plan} | {effect:g} | {shares} | {seeds:.1f} |")


def _with_looks(
    draw: Draw, effect: float, plan: tuple[int, int, int], studies: int
) -> tuple[float, float, float]:
    """Returns the shares that find a difference, with looks and without, and the mean seeds."""
    first, step, most = plan
    looks = [*range(first, most, step), most]
    rng = np.random.default_rng(most)
    a, b = (draw(rng, studies * most).reshape(studies, most) for _ in range(2))
    a = a + effect
    p = [ttest_ind(a[:, :n], b[:, :n], axis=1, equal_var=False).pvalue for n in looks]
    crossed = np.array(p) < np.array(nominal_levels(looks, 0.05))[:, None]
    # The first look that decides, or the last one.
    ends = np.where(crossed.any(0), crossed.argmax(0), len(looks) - 1)
    return crossed.any(0).mean(), (p[-1] < 0.05).mean(), np.array(looks)[ends].mean()


TABLES = {"stochastic-order": stochastic_order, "sequential": sequential}

if __name__ == "__main__":
    TABLES[sys.argv[1]]()
