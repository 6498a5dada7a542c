"""The contenders of a benchmark: their names and what each needs before it starts.

A name is a library followed by options: a backend of lstm_lab and a number format (`NUMBERS`),
for example "lstm_lab fused bf16". `workloads.py` builds what a contender runs.
"""

from __future__ import annotations

from importlib.util import find_spec

from lstm_lab.bench.cases import Suite

# Modules of optional dependencies.
NEEDS = {"torch": "torch", "keras": "keras", "haiku": "haiku", "equinox": "equinox"}
NEEDS |= {"onnxruntime": "onnxruntime"}
# Number formats: the dtype, and whether matrix products must not use TF32. The last word of a name
# selects one.
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
ON_GPUS = ("lstm_lab cudnn", "lstm_lab persistent")
BACKENDS = (
    *("lstm_lab scan", "lstm_lab fused", "lstm_lab native", "lstm_lab associative"),
    *ON_GPUS,
)
COSTS = ("lstm_lab", "lstm_lab scan", "torch", "flax", "keras", "haiku", "equinox")
STREAMING = ("lstm_lab", "onnxruntime")
ALL = tuple(dict.fromkeys((*CPU, *GPU, *BACKENDS, *STREAMING)))
# Contenders that only a population has.
FOR_POPULATIONS = ("torch processes", "lstm_lab in turn")
FOR_LAYERS = ("floor",)


def default_contenders(suite: Suite, platform: str) -> tuple[str, ...]:
    """Returns the default contenders of a suite.

    Args:
      suite: the suite.
      platform: "cpu" or "gpu", as JAX names it.
    """
    if suite in ("backends", "cells"):
        return BACKENDS if platform == "gpu" else tuple(n for n in BACKENDS if n not in ON_GPUS)
    if suite == "costs":
        return COSTS
    if suite == "streaming":
        return STREAMING
    # Left out where they would serve no case: their processes would take seconds to start.
    absent: tuple[str, ...] = () if suite == "population" else FOR_POPULATIONS
    absent = (*absent, *FOR_LAYERS) if suite == "train" else absent
    return tuple(name for name in (GPU if platform == "gpu" else CPU) if name not in absent)


def library(name: str) -> str:
    """Returns the library of a contender, the first word of its name.

    Args:
      name: the contender.

    Example:
      library("torch processes")  # "torch"
    """
    return name.split()[0]


def numbers(name: str) -> tuple[str, bool]:
    """Returns the dtype of a contender, and whether its matrix products must not use TF32.

    Args:
      name: the contender; without a number format it computes in float32 and may use TF32, as is
        JAX's default.
    """
    return NUMBERS.get(name.split()[-1], ("float32", False))


def missing(name: str) -> bool:
    """Returns whether the library of a contender is not installed.

    Args:
      name: the contender.
    """
    # Looked up, not imported: importing a library takes seconds.
    module = NEEDS.get(library(name))
    return module is not None and find_spec(module) is None


def settings(name: str) -> dict[str, str]:
    """Returns the environment variables of a contender's process.

    Args:
      name: the contender.
    """
    shared = {
        # The processes of all contenders share the memory of one GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Every process compiles anew, or the first call would be fast for who ran before.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    # Keras reads it at its import; its default would be TensorFlow.
    return shared | ({"KERAS_BACKEND": "jax"} if library(name) == "keras" else {})
