"""What each contender runs for a case: `build(name, case)` gives a function of no arguments.

JAX's libraries differ in their layer alone, `layer(case) -> (params, apply)` with
`apply(params, x_BTD, lengths) -> h_BTH`; gradients, losses and optimisers around it are the same.
A library without lengths computes the padding too, as its users do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from lstm_lab.bench.cases import Case

Run = Callable[[], None]

# Contender -> what has to be installed, beside what the package needs itself.
NEEDS = {
    "lstm_lab": None,
    "lstm_lab scan": None,
    "lstm_lab fused": None,
    "floor": None,
    "torch": "torch",
    "torch processes": "torch",
    "flax": None,
    "keras": "keras",
    "haiku": "haiku",
    "equinox": "equinox",
}


def missing(name: str) -> bool:
    """Returns whether a contender is not installed."""
    needed = NEEDS[name]
    return needed is not None and find_spec(needed) is None


def serves(name: str, case: Case) -> bool:
    """Returns whether a contender takes part in a case."""
    if name == "floor":
        plain = case.layers == 1 and not case.bidirectional and not case.ragged
        return case.work in ("forward", "gradient", "population") and plain
    return name != "torch processes" or case.work == "population"


def build(name: str, case: Case) -> Run:
    """Returns a function that does a case's work once and waits for it."""
    if name.startswith("torch"):
        from lstm_lab.bench import torch_peer

        return torch_peer.build(case)
    from lstm_lab.bench import jax_peers

    return jax_peers.build(name, case)


def settings(name: str) -> dict[str, Any]:
    """Returns what a contender sets before it starts: environment variables."""
    return {"KERAS_BACKEND": "jax"} if name == "keras" else {}
