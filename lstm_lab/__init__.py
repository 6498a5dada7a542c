"""lstm_lab: a JAX/Flax laboratory for LSTM research.

    import lstm_lab as ll

    run = ll.train("adding:peephole")
    run.metrics

The names below are imported at their first use, so that `import lstm_lab` takes milliseconds and
`lstm_lab.cells` needs only JAX and NumPy. Read `api/training.py` for the calls that train, and
`docs/design.md` for the layout of the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_lab.api.cells import BoundCell, cell, check, unroll
    from lstm_lab.api.runs import Run
    from lstm_lab.api.seeds import Runs, load_run
    from lstm_lab.api.studies import CellComparison, StudyResult, load_study
    from lstm_lab.api.training import compare, sweep, train
    from lstm_lab.cells import CellSpec, State
    from lstm_lab.config.load import load_spec
    from lstm_lab.models.recurrent import LSTM
    from lstm_lab.models.regularization import Regularization
    from lstm_lab.studies import (
        Best,
        Choice,
        Claim,
        Equivalent,
        LogUniform,
        Matters,
        Reference,
        Reproduces,
        Scores,
        Search,
        Sequential,
        Study,
        Trials,
        Tuning,
        Uniform,
        chain,
        grid,
        zipped,
    )
    from lstm_lab.training.loggers.base import Histogram, Logger, RunInfo
    from lstm_lab.utils.errors import UserError

__version__ = "0.2.0"

# Public names by the module that defines them. The imports above tell the same to type checkers; a
# test compares both.
_NAMES = {
    "lstm_lab.api.training": ("train", "sweep", "compare"),
    "lstm_lab.api.runs": ("Run",),
    "lstm_lab.api.seeds": ("Runs", "load_run"),
    "lstm_lab.api.studies": ("CellComparison", "StudyResult", "load_study"),
    "lstm_lab.api.cells": ("BoundCell", "cell", "check", "unroll"),
    "lstm_lab.cells": ("CellSpec", "State"),
    "lstm_lab.config.load": ("load_spec",),
    "lstm_lab.models.recurrent": ("LSTM",),
    "lstm_lab.models.regularization": ("Regularization",),
    "lstm_lab.studies": (
        *("Study", "Sequential", "Tuning", "Trials", "Search", "grid", "zipped", "chain"),
        *("Choice", "LogUniform", "Uniform"),
        *("Claim", "Equivalent", "Best", "Matters", "Scores", "Reproduces", "Reference"),
    ),
    "lstm_lab.training.loggers.base": ("Histogram", "Logger", "RunInfo"),
    "lstm_lab.utils.errors": ("UserError",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
# Packages whose names are used with that of the package, as in `ll.interop.import_weights`.
_PACKAGES = ("interop",)

__all__ = [
    "LSTM",
    "Best",
    "BoundCell",
    "CellComparison",
    "CellSpec",
    "Choice",
    "Claim",
    "Equivalent",
    "Histogram",
    "LogUniform",
    "Logger",
    "Matters",
    "Reference",
    "Regularization",
    "Reproduces",
    "Run",
    "RunInfo",
    "Runs",
    "Scores",
    "Search",
    "Sequential",
    "State",
    "Study",
    "StudyResult",
    "Trials",
    "Tuning",
    "Uniform",
    "UserError",
    "cell",
    "chain",
    "check",
    "compare",
    "grid",
    "load_run",
    "load_spec",
    "load_study",
    "sweep",
    "train",
    "unroll",
    "zipped",
]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use."""
    if name in _PACKAGES:
        return importlib.import_module(f"lstm_lab.{name}")
    if name not in _MODULES:
        # difflib costs milliseconds, which only an error should pay for.
        from difflib import get_close_matches

        near = get_close_matches(name, __all__, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module 'lstm_lab' has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES, "__version__"]
