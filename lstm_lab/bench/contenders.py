"""The contenders of a benchmark: their names, and what each needs before it starts.

A name is a library, followed by its options: a backend of ours, and a number format (`NUMBERS`).
`workloads.py` builds what a contender runs.
"""

from __future__ import annotations

from importlib.util import find_spec

from lstm_lab.bench.cases import Suite

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


def settings(name: str) -> dict[str, str]:
    """Returns what a contender sets before it starts: environment variables."""
    # All contenders' processes share the memory of one GPU.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return shared | ({"KERAS_BACKEND": "jax"} if library(name) == "keras" else {})
