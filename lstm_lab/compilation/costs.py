"""A lower bound of the time of an optimizer step, from what no program of it can avoid.

    time >= max(FLOP / peak rate, bytes / bandwidth) + kernels * time between two kernels

In: a spec and the counts of its program. Out: `StepCost`, for one device.

FLOP are those of the matrix products of forward and backward pass (`models/summary.py`). XLA's own
count is kept beside them; it counts each loop once, whatever its length. Bytes are those that have
to move at least once: each array of the state is read and written, the batch is read.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from lstm_lab.compilation.build import Build
from lstm_lab.compilation.chips import Chip
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize_program
from lstm_lab.tasks import Dataset, longest, mean_steps
from lstm_lab.training.layout import Layout
from lstm_lab.utils.types import PyTree


class StepCost(NamedTuple):
    """The cost of one optimizer step of all lanes, on one device.

    Attributes:
      flops: of matrix products, at the mean length of the data.
      bytes: that move between memory and chip, at least.
      xla_flops, xla_bytes: XLA's count for the program, each loop once; None where XLA counts
        nothing, as for GPUs that are not here.
      seconds: the lower bound; None for a chip without known rates.
      limit: what it comes from: `products`, `memory` or `launches`; "" without a bound.

    Example:
      step_cost(spec, layout, dataset, built, launches, chip).limit  # "launches"
    """

    flops: float
    bytes: float
    xla_flops: float | None
    xla_bytes: float | None
    seconds: float | None
    limit: str


def step_cost(
    spec: RunSpec,
    layout: Layout,
    dataset: Dataset,
    build: Build,
    launches: float | None,
    chip: Chip | None,
) -> StepCost:
    """Returns the least cost of an optimizer step.

    Args:
      spec: any member of the cohort.
      layout: how the cohort lies on the devices.
      dataset: its data.
      build: its compiled programs.
      launches: kernels of a step, or None if unknown.
      chip: the device; None for a CPU, whose rates are not known here.

    Example:
      step_cost(spec, layout, dataset, built, 120.0, CHIPS["h100"]).seconds  # 0.0001
    """
    wide = layout.widen(spec)
    lanes = layout.lanes // (layout.devices if layout.kind == "members" else 1)
    rows = spec.train.batch_size // (layout.devices if layout.kind == "batch" else 1)
    train = dataset.splits.get("train")
    split = dataset.splits["valid"] if train is None else train
    summary = summarize_program(wide, longest(split))
    flops = lanes * rows * mean_steps(split) * summary.training_flops_per_token
    # The best weights change at evaluations only.
    moved = 2 * (_bytes(build.member) - _bytes(build.member.best))
    batch = rows * longest(split) * 4.0 * _features(spec)
    total = lanes * (moved + batch)
    counted = {} if build.run_chunk is None else build.run_chunk.cost_analysis() or {}
    xla = counted.get("flops"), counted.get("bytes accessed")
    if chip is None:
        return StepCost(flops, total, *xla, None, "")
    parts = {
        "products": flops / chip.flops_per_second(spec.model),
        "memory": total / chip.bandwidth,
        "launches": (launches or 0.0) * chip.launch_seconds,
    }
    seconds = max(parts["products"], parts["memory"]) + parts["launches"]
    return StepCost(flops, total, *xla, seconds, max(parts, key=parts.__getitem__))


def _features(spec: RunSpec) -> int:
    """Returns the numbers of an input at one time step: one for a symbol."""
    return getattr(spec.task.inputs, "features", 1)


def _bytes(tree: PyTree) -> float:
    return float(sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree)))
