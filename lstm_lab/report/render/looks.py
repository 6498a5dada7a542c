"""How to read the verdicts of a study with looks.

In: a `Comparison`. Out: a note below the ranking. `report/looks.py` has the verdicts.
"""

from __future__ import annotations

from lstm_lab.report.comparison import Comparison


def looks_note(c: Comparison) -> str:
    """Returns how the verdicts of a study with looks come about.

    Args:
      c: the comparison of a study with looks.
    """
    assert c.sequential is not None
    first, step, rope = (c.sequential[name] for name in ("first", "step", "rope"))
    done = [
        f"{row.variant} after {row.look.seeds}"
        for row in c.rows
        if row.look is not None and row.look.seeds
    ]
    equivalent = (
        f" Equivalent: the posterior probability of a difference of at most {rope:g} is above 0.95."
        if rope
        else ""
    )
    return (
        f"Seeds in groups: {first}, then {step} at a time, until a look decides; the last look of "
        f"{', '.join(done) or 'no variant yet'}. Better or worse: p (last look), of Welch's "
        f"two-sided test over these seeds, is below the limit, which keeps the level "
        f"{c.sequential['alpha']:g} over all looks and variants (Lan and DeMets 1983)."
        f"{equivalent} All other p-values and intervals of this report are computed as if the "
        "number of seeds had been fixed, which makes them too small."
    )
