"""The cases of each suite: shapes, and the work that is timed at each shape.

In: the name of a suite and the platform. Out: `Case`s, which travel as JSON to the process of each
contender. Read `choice.py` for cases of the user's own shapes, `contenders.py` for who runs them,
and `run.py` for how they are timed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

Suite = Literal["layer", "train", "population", "backends", "cells", "costs", "streaming"]
SUITES: tuple[Suite, ...] = get_args(Suite)
Work = Literal["forward", "gradient", "language", "classifier", "tagger", "population", "step"]
MODELS: tuple[Work, ...] = ("language", "classifier", "tagger")
# The kinds of work of each suite.
WORKS: dict[Suite, tuple[Work, ...]] = {
    "layer": ("forward", "gradient"),
    "train": MODELS,
    "population": ("population",),
    "backends": ("gradient", "population"),
    "cells": ("gradient",),
    "costs": ("gradient", "language"),
    "streaming": ("step",),
}
Shape = tuple[int, int, int, int]  # B, T, D, H
VOCABULARY, CLASSES, MEMBERS = 10_000, 10, 16


@dataclass(frozen=True)
class Case:
    """A shape and the work that is timed at it.

    Attributes:
      work: `forward`: one forward pass; `gradient`: forward and backward pass, with gradients of
        weights and inputs; `language`, `classifier`, `tagger`: one optimizer step of such a model;
        `population`: one SGD step of each of `members` runs; `step`: one step of a stream, by a
        language model.
      B, T, D, H: batch size, time steps, input features (of an embedding, if inputs are words),
        hidden units.
      layers: number of layers.
      bidirectional: whether layers have two directions.
      ragged: whether rows have different lengths, between T / 4 and T.
      members: number of runs of a population.
      vocabulary: number of words of a language model or a tagger.
      cell: the variant, or FILE.py:NAME; other libraries have only "lstm".
    """

    work: Work
    B: int
    T: int
    D: int
    H: int
    layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    members: int = 1
    vocabulary: int = VOCABULARY
    cell: str = "lstm"

    @property
    def label(self) -> str:
        """The shape as text, for tables."""
        words = [] if self.cell == "lstm" else [self.cell]
        # The tables of a CPU have only populations of MEMBERS, so a label need not repeat it.
        words += [f"{self.members} members"] if self.members not in (1, MEMBERS) else []
        words += [f"B {self.B}, T {self.T}, D {self.D}, H {self.H}"]
        words += [f"{self.layers} layers"] if self.layers > 1 else []
        words += ["both directions"] * self.bidirectional + ["ragged"] * self.ragged
        words += [f"V {self.vocabulary:,}"] if self.reads_words else []
        return ", ".join(words)

    @property
    def is_model(self) -> bool:
        """Whether the work is a training step of a whole model, with head and optimizer."""
        return self.work in MODELS

    @property
    def reads_words(self) -> bool:
        """Whether the model has an embedding of words."""
        return self.work in ("language", "tagger", "step")

    @property
    def outputs(self) -> int:
        """Number of outputs of the model's head."""
        return self.vocabulary if self.work in ("language", "step") else CLASSES

    @property
    def every_step(self) -> bool:
        """Whether the head reads every time step, or only the last one."""
        return self.work != "classifier"

    @property
    def features(self) -> int:
        """Number of outputs of the last layer, of all directions."""
        return self.H * (1 + self.bidirectional)

    @property
    def lengths(self) -> np.ndarray | None:
        """Lengths of the rows [B] of a ragged case, about 5/8 T on average; None for others."""
        if not self.ragged:
            return None
        # Seeded: all contenders, each in a process of its own, must get the same lengths.
        lengths = np.random.default_rng(0).integers(max(self.T // 4, 1), self.T + 1, self.B)
        lengths[0] = self.T  # libraries pad to the longest row: the shape must stay [B,T]
        return lengths.astype(np.int32)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns random inputs and targets of a model: words or vectors, and classes."""
        rng = np.random.default_rng(0)
        if self.work in ("language", "step"):
            words = rng.integers(0, self.vocabulary, (self.B, self.T + 1)).astype(np.int32)
            return words[:, :-1], words[:, 1:]
        shape = (self.B, self.T) if self.every_step else (self.B,)
        y = rng.integers(0, CLASSES, shape).astype(np.int32)
        if self.reads_words:
            return rng.integers(0, self.vocabulary, shape).astype(np.int32), y
        return rng.normal(size=(self.B, self.T, self.D)).astype(np.float32), y

    def to_json(self) -> dict[str, Any]:
        """Returns the case as JSON-ready data."""
        return asdict(self)


# Small, medium and wide layers; (20, 35, 650, 650) is a layer of Zaremba's medium model.
SHAPES: tuple[Shape, ...] = (
    (32, 64, 64, 128),
    (64, 128, 128, 256),
    (20, 35, 650, 650),
    (128, 100, 256, 512),
    (32, 25, 512, 1024),
)
# Lengths, directions and layers at one shape only, which keeps a run of the suite short.
MORE: tuple[dict[str, Any], ...] = (
    {"B": 32, "T": 64, "D": 64, "H": 128, "ragged": True},
    {"B": 32, "T": 64, "D": 64, "H": 128, "bidirectional": True},
    {"B": 32, "T": 64, "D": 64, "H": 128, "layers": 2},
)
# Shapes for which nothing was tuned: batches of 1 to 256, 10 to 400 steps, 32 to 1,024 units.
OTHER: tuple[dict[str, Any], ...] = (
    {"B": 1, "T": 400, "D": 40, "H": 256},
    {"B": 256, "T": 20, "D": 100, "H": 128},
    {"B": 64, "T": 40, "D": 300, "H": 512, "layers": 3},
    {"B": 48, "T": 90, "D": 200, "H": 384, "bidirectional": True, "ragged": True},
    {"B": 8, "T": 400, "D": 12, "H": 64, "ragged": True},
    {"B": 16, "T": 10, "D": 32, "H": 1024},
    {"B": 100, "T": 50, "D": 50, "H": 32, "bidirectional": True},
    {"B": 4, "T": 120, "D": 256, "H": 700},
    {"B": 32, "T": 200, "D": 80, "H": 320, "layers": 2, "bidirectional": True},
    {"B": 24, "T": 75, "D": 128, "H": 192, "layers": 3, "ragged": True},
)
# First FlashRNN's shape, last a layer of Zaremba's large model.
GPU_SHAPES: tuple[Shape, ...] = ((16, 1024, 768, 768), *SHAPES, (20, 35, 1500, 1500))
GPU_MORE: tuple[dict[str, Any], ...] = (
    {"B": 16, "T": 1024, "D": 768, "H": 768, "ragged": True},
    {"B": 16, "T": 1024, "D": 768, "H": 768, "bidirectional": True},
    {"B": 16, "T": 1024, "D": 768, "H": 768, "layers": 2},
)
POPULATION: tuple[Shape, ...] = (
    *((32, 50, 8, 32), (32, 100, 32, 64), (32, 64, 64, 128), (64, 64, 88, 200)),
    # The last three are those for which nothing was tuned.
    *((8, 200, 16, 48), (128, 30, 40, 100), (20, 35, 256, 256)),
)
# Small models in large numbers: one of them alone cannot fill a GPU. `make gpu` has ten minutes,
# most of which is compiling: few cases of each suite, and the most important ones first.
GPU_POPULATION: tuple[Shape, ...] = tuple((32, 64, 32, H) for H in (64, 256))
GPU_MEMBERS = (256, 16)
# Language models with the layers of Zaremba's small and medium ones (but 35 steps, not 20), and
# others; a classifier of series; a tagger of sentences.
TRAIN = (
    Case("language", 32, 40, 256, 256),
    Case("language", 20, 35, 400, 650, layers=2),
    Case("language", 20, 35, 200, 200, layers=2, vocabulary=1_000),
    Case("language", 20, 35, 200, 200, layers=2, vocabulary=50_000),
    Case("classifier", 64, 120, 12, 96),
    Case("tagger", 32, 50, 100, 100, bidirectional=True, ragged=True),
)
GPU_TRAIN = (
    TRAIN[0],
    *(Case("language", 20, 35, H, H, layers=2) for H in (650, 1500)),
    *TRAIN[-2:],
)
# For the choice of `auto`: one variant per cost family (see recurrence/dispatch.py), and shapes.
VARIANTS = (
    *("lstm", "vanilla", "fgr", "layernorm", "lstmp", "multiplicative"),
    *("rnn", "gru", "mgu", "slstm", "minlstm"),
)
# First the JSB chorales with one sequence per update, then the ablation on digits.
BACKEND_SHAPES: tuple[Shape, ...] = ((1, 60, 88, 100), (32, 64, 1, 64), *SHAPES)
CELL_SHAPES: tuple[Shape, ...] = ((32, 64, 64, 128), (32, 64, 1, 64))
COSTS = (
    Case("gradient", 32, 64, 64, 128),
    Case("gradient", 20, 35, 650, 650),
    Case("language", 20, 35, 200, 200, layers=2),
)
# Characters of tiny Shakespeare; an operator of ONNX, and a Scan.
STREAMING = tuple(
    Case("step", 1, 1, 64, H, vocabulary=66, cell=cell)
    for cell in ("lstm", "slstm")
    for H in (128, 256, 512)
)


def cases(suite: Suite, platform: str = "cpu") -> list[Case]:
    """Returns the cases of a suite; a GPU gets larger shapes and more members.

    Args:
      suite: the suite.
      platform: "cpu" or "gpu", as JAX names it.

    Example:
      [case.label for case in cases("train")]
    """
    gpu = platform == "gpu"
    match suite:
        case "train":
            return list(GPU_TRAIN if gpu else TRAIN)
        case "costs":
            return list(COSTS)
        case "streaming":
            return list(STREAMING)
        case "population":
            return [
                Case("population", *shape, members=members)
                for members in (GPU_MEMBERS if gpu else (MEMBERS,))
                for shape in (GPU_POPULATION if gpu else POPULATION)
            ]
        case "cells":
            # Late: it imports JAX, which a process that times PyTorch must not do.
            from lstm_lab.cells import CATALOGUE

            return [
                Case("gradient", *shape, cell=cell) for shape in CELL_SHAPES for cell in CATALOGUE
            ]
        case "backends":
            return _backend_cases(gpu)
        case "layer":
            shapes, more = (GPU_SHAPES, GPU_MORE) if gpu else (SHAPES, (*MORE, *OTHER))
            return [
                case
                for work in WORKS["layer"]
                for case in (
                    *(Case(work, *shape) for shape in shapes),
                    *(Case(work, **changes) for changes in more),
                )
            ]


def _backend_cases(gpu: bool) -> list[Case]:
    if not gpu:  # on CPU members are not batched
        return [
            Case("gradient", *shape, cell=cell) for cell in VARIANTS for shape in BACKEND_SHAPES
        ]
    # The plain LSTM at every shape, since only there cuDNN is to choose from; the others at one.
    return [
        *(Case("gradient", *shape) for shape in GPU_SHAPES),
        *(Case("population", *shape, members=64) for shape in GPU_POPULATION),
        *(Case("gradient", *GPU_SHAPES[1], cell=cell) for cell in VARIANTS[1:]),
    ]
