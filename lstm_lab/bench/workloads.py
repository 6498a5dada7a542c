"""The function that each contender runs for a case: `build(name, case)`.

JAX libraries differ only in their layer, see `jax_peers.py`; losses, gradients and optimizers are
shared. A library that takes no lengths computes the padding too, as it does for its users.
"""

from __future__ import annotations

from collections.abc import Callable

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library

Run = Callable[[], None]


def serves(name: str, case: Case) -> bool:
    """Returns whether a contender serves a case. Called in the contender's own process.

    Args:
      name: the contender.
      case: the case.
    """
    # The floor is a bound for one plain layer; it knows neither lengths nor directions.
    if name == "floor":
        is_plain = case.layers == 1 and not case.bidirectional and not case.ragged
        return case.work in ("forward", "gradient", "population") and is_plain
    if name in ("torch processes", "lstm_lab in turn"):
        return case.work == "population"
    if library(name) != "lstm_lab":
        return case.cell == "lstm"
    # Imported late: JAX must not start in a process that times PyTorch.
    from lstm_lab.bench import jax_peers

    return jax_peers.serves(name, case)


def build(name: str, case: Case) -> Run:
    """Returns a function that does the work of a case once and waits for the result.

    Args:
      name: a contender that serves the case.
      case: the case.
    """
    if library(name) == "torch":
        from lstm_lab.bench import torch_peer

        return torch_peer.build(name, case)
    from lstm_lab.bench import jax_peers

    return jax_peers.build(name, case)
