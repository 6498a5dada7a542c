"""The function that each contender runs for a case: `build(name, case)`.

A library that takes no lengths computes the padding too, as it does for its users. Read
`jax_work.py` and `torch_peer.py` next, which have the work in JAX and in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library

Run = Callable[[], None]
JAX_LIBRARIES = {"flax": "flax.linen", "keras": "keras", "haiku": "haiku", "equinox": "equinox"}


def load(name: str) -> None:
    """Imports what a contender needs.

    Args:
      name: the contender.
    """
    # Imported late: JAX must not start in a process that times PyTorch.
    if library(name) == "torch":
        import torch  # noqa: F401 - `torch_peer` imports it when it is first called

        from lstm_lab.bench import torch_peer  # noqa: F401

        return
    if library(name) in JAX_LIBRARIES:
        import_module(JAX_LIBRARIES[library(name)])
    from lstm_lab.bench import jax_work  # noqa: F401


def serves(name: str, case: Case) -> bool:
    """Returns whether a contender serves a case. Called in the contender's own process.

    Args:
      name: the contender.
      case: the case.
    """
    if case.work == "step":
        from lstm_lab.bench import streaming

        return streaming.serves(name, case)
    if name == "floor":
        from lstm_lab.bench import floor

        return floor.serves(case)
    if name in ("torch processes", "lstm_lab in turn"):
        return case.work == "population"
    if library(name) != "lstm_lab":
        return case.cell == "lstm" and name != "onnxruntime"
    from lstm_lab.bench import ours

    return ours.serves(name, case)


def build(name: str, case: Case) -> Run:
    """Returns a function that does the work of a case once and waits for the result.

    Args:
      name: a contender that serves the case.
      case: the case.
    """
    if case.work == "step":
        from lstm_lab.bench import streaming

        return streaming.build(name, case)
    if library(name) == "torch":
        from lstm_lab.bench import torch_peer

        return torch_peer.build(name, case)
    from lstm_lab.bench import jax_work

    return jax_work.build(name, case)


def tune(name: str, run: Run) -> None:
    """Gives a contender the settings of this machine with which it is fastest: PyTorch's threads.

    Args:
      name: the contender.
      run: what `build` returned; it has run once.
    """
    if library(name) == "torch":
        from lstm_lab.bench import torch_peer

        torch_peer.use_best_threads(run)
