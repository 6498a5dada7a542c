"""Studies: what is compared, and the machinery that trains it.

A study file imports its vocabulary from here:

    from lstm_lab.studies import Claim, Study, Tuning, grid

The path of a study through this package: `study.py` declares it, `expand.py` turns it into runs,
`plan.py` groups the runs into cohorts, `folder.py` keeps plan and results on disk, `run.py` trains
what is missing. `local.py` and `slurm.py` start several workers, each of which executes `run.py`.

The names below need neither JAX nor Flax, so that importing a study file stays cheap.
"""

from lstm_lab.studies.axes import (
    Axis,
    Choice,
    Conditional,
    LogUniform,
    SearchRange,
    Uniform,
    chain,
    grid,
    zipped,
)
from lstm_lab.studies.claims import (
    Best,
    Claim,
    Equivalent,
    Matters,
    Reference,
    Reproduces,
    Scores,
)
from lstm_lab.studies.study import Search, Sequential, Study, Trials, Tuning

__all__ = [
    "Axis",
    "Best",
    "Choice",
    "Claim",
    "Conditional",
    "Equivalent",
    "LogUniform",
    "Matters",
    "Reference",
    "Reproduces",
    "Scores",
    "Search",
    "SearchRange",
    "Sequential",
    "Study",
    "Trials",
    "Tuning",
    "Uniform",
    "chain",
    "grid",
    "zipped",
]
