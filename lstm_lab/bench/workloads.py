"""What each contender runs for a case: `build(name, case)` returns a function without arguments.

JAX's libraries differ only in their layer, `layer(case) -> (params, apply)` with
`apply(params, x_BTD, lengths) -> h_BTH`; the gradients, losses and optimizers around it are shared.
A library without lengths computes the padding too, as its users do.
"""

from __future__ import annotations

from collections.abc import Callable

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library

Run = Callable[[], None]


def serves(name: str, case: Case) -> bool:
    """Returns whether a contender takes part in a case; asked in its own process."""
    if name == "floor":
        plain = case.layers == 1 and not case.bidirectional and not case.ragged
        return case.work in ("forward", "gradient", "population") and plain
    if name in ("torch processes", "lstm_lab in turn"):
        return case.work == "population"
    if library(name) != "lstm_lab":
        return case.cell == "lstm"
    from lstm_lab.bench import jax_peers

    return jax_peers.serves(name, case)


def build(name: str, case: Case) -> Run:
    """Returns a function that does a case's work once and waits for it."""
    if library(name) == "torch":
        from lstm_lab.bench import torch_peer

        return torch_peer.build(name, case)
    from lstm_lab.bench import jax_peers

    return jax_peers.build(name, case)
