"""The cases of each suite: shapes, and the work that is timed at each shape.

In: the name of a suite and the platform. Out: `Case`s, which travel as JSON to the process of each
contender. Read `contenders.py` for who runs them and `run.py` for how they are timed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

Suite = Literal["layer", "train", "population", "backends"]
SUITES: tuple[Suite, ...] = get_args(Suite)
Work = Literal["forward", "gradient", "language", "classifier", "population"]


@dataclass(frozen=True)
class Case:
    """A shape and the work that is timed at it.

    Attributes:
      work: `forward`: one forward pass; `gradient`: forward and backward pass, with gradients of
        weights and inputs; `language`, `classifier`: one optimizer step of such a model;
        `population`: one SGD step of each of `members` runs.
      B, T, D, H: batch size, time steps, input features, hidden units.
      layers: number of layers.
      bidirectional: whether layers have two directions.
      ragged: whether rows have different lengths, between T / 4 and T.
      members: number of runs of a population.
      cell: the variant; other libraries have only "lstm".
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
        return ", ".join(words)

    @property
    def lengths(self) -> np.ndarray | None:
        """Lengths of the rows [B] of a ragged case, about 5/8 T on average; None for others."""
        if not self.ragged:
            return None
        # Seeded: all contenders, each in a process of its own, must get the same lengths.
        lengths = np.random.default_rng(0).integers(self.T // 4, self.T + 1, self.B)
        lengths[0] = self.T  # libraries pad to the longest row: the shape must stay [B,T]
        return lengths.astype(np.int32)

    def to_json(self) -> dict[str, Any]:
        """Returns the case as JSON-ready data."""
        return asdict(self)


# Small, medium and wide layers; (20, 35, 650, 650) is a layer of Zaremba's medium model.
SHAPES = (
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
# First FlashRNN's shape, last a layer of Zaremba's large model.
GPU_SHAPES = ((16, 1024, 768, 768), *SHAPES, (20, 35, 1500, 1500))
GPU_MORE: tuple[dict[str, Any], ...] = (
    {"B": 16, "T": 1024, "D": 768, "H": 768, "ragged": True},
    {"B": 16, "T": 1024, "D": 768, "H": 768, "bidirectional": True},
    {"B": 16, "T": 1024, "D": 768, "H": 768, "layers": 2},
)
POPULATION = ((32, 50, 8, 32), (32, 100, 32, 64), (32, 64, 64, 128), (64, 64, 88, 200))
# Small models in large numbers: one of them alone cannot fill a GPU.
GPU_POPULATION = tuple((32, 64, 32, H) for H in (32, 64, 128, 256))
GPU_MEMBERS = (16, 64, 256, 1024)
# A word model with the layers of Zaremba's small one (but 35 steps, not 20), and MNIST read row by
# row.
TRAIN = (Case("language", 20, 35, 200, 200, layers=2), Case("classifier", 128, 28, 28, 128))
GPU_TRAIN = (*TRAIN, *(Case("language", 20, 35, H, H, layers=2) for H in (650, 1500)))
VOCABULARY, CLASSES, MEMBERS = 10_000, 10, 16
# For the choice of `auto`: one variant per cost family (see recurrence/dispatch.py), and shapes.
VARIANTS = (
    *("lstm", "vanilla", "fgr", "layernorm", "lstmp", "multiplicative"),
    *("rnn", "gru", "slstm", "minlstm"),
)
# First the JSB chorales with one sequence per update, then the ablation on digits.
BACKEND_SHAPES = ((1, 60, 88, 100), (32, 64, 1, 64), *SHAPES)


def cases(suite: Suite, platform: str = "cpu") -> list[Case]:
    """Returns the cases of a suite; a GPU gets larger shapes and more members.

    Args:
      suite: the suite.
      platform: "cpu" or "gpu", as JAX names it.

    Example:
      [case.label for case in cases("train")]
    """
    gpu = platform == "gpu"
    shapes, extra_shapes = (GPU_SHAPES, GPU_MORE) if gpu else (SHAPES, MORE)
    if suite == "train":
        return list(GPU_TRAIN if gpu else TRAIN)
    if suite == "population":
        populations = GPU_POPULATION if gpu else POPULATION
        return [
            Case("population", *shape, members=members)
            for members in (GPU_MEMBERS if gpu else (MEMBERS,))
            for shape in populations
        ]
    if suite == "backends":
        backend_shapes = (*BACKEND_SHAPES[:2], *GPU_SHAPES) if gpu else BACKEND_SHAPES
        populations = GPU_POPULATION if gpu else ()  # on CPU members are not batched
        return [
            case
            for cell in VARIANTS
            for case in (
                *(Case("gradient", *shape, cell=cell) for shape in backend_shapes),
                *(Case("population", *shape, members=64, cell=cell) for shape in populations),
            )
        ]
    works: tuple[Work, ...] = ("forward", "gradient")
    return [
        case
        for work in works
        for case in (
            *(Case(work, *shape) for shape in shapes),
            *(Case(work, **changes) for changes in extra_shapes),
        )
    ]
