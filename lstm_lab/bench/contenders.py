"""What each contender runs for a case: `build(name, case)` gives a function of no arguments.

A name is a library and, after it, what it is told: a backend of ours, and numbers (`NUMBERS`).
JAX's libraries differ in their layer alone, `layer(case) -> (params, apply)` with
`apply(params, x_BTD, lengths) -> h_BTH`; gradients, losses and optimisers around it are the same.
A library without lengths computes the padding too, as its users do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from lstm_lab.bench.cases import Case, Suite

Run = Callable[[], None]

# What has to be installed, beside what the package needs itself.
NEEDS = {"torch": "torch", "keras": "keras", "haiku": "haiku", "equinox": "equinox"}
# What numbers a contender is told to use: its dtype, and whether TF32 is kept out of products.
NUMBERS = {
    "fp32": ("float32", True),
    "tf32": ("float32", False),
    "fp16": ("float16", False),
    "bf16": ("bfloat16", False),
}
CPU = (
    *("lstm_lab", "lstm_lab scan", "lstm_lab fused", "floor", "torch", "torch processes"),
    *("flax", "keras", "haiku", "equinox"),
)
GPU = (
    *("lstm_lab tf32", "lstm_lab fp32", "lstm_lab bf16", "lstm_lab cudnn", "lstm_lab in turn"),
    *("torch tf32", "torch fp32", "torch fp16", "torch bf16", "flax", "keras"),
)
BACKENDS = tuple(f"lstm_lab {name}" for name in ("scan", "fused", "native", "associative", "cudnn"))
ALL = tuple(dict.fromkeys((*CPU, *GPU, *BACKENDS)))


def usual(suite: Suite, platform: str) -> tuple[str, ...]:
    """Returns the contenders of a suite, where none are named."""
    return BACKENDS if suite == "backends" else GPU if platform == "gpu" else CPU


def library(name: str) -> str:
    """Returns the first word of a contender's name."""
    return name.split()[0]


def numbers(name: str) -> tuple[str, bool]:
    """Returns a contender's dtype, and whether TF32 is kept out of its products."""
    return NUMBERS.get(name.split()[-1], ("float32", False))


def missing(name: str) -> bool:
    """Returns whether a contender is not installed."""
    needed = NEEDS.get(library(name))
    return needed is not None and find_spec(needed) is None


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


def settings(name: str) -> dict[str, str]:
    """Returns what a contender sets before it starts: environment variables."""
    # All contenders' processes share the memory of one GPU.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return shared | ({"KERAS_BACKEND": "jax"} if library(name) == "keras" else {})
