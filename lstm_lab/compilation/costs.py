"""A lower bound of the time of an optimizer step of a program.

    time >= max(FLOP / peak rate, (bytes - 2 cache) / bandwidth) + kernels * time of a launch

In: a spec and the counts of its program. Out: `StepCost`, for one device.

FLOP are those of the matrix products of forward and backward pass (`models/summary.py`), without
the rows and steps of padding. XLA's own count is kept as well; it counts each loop once, whatever
its length. Bytes are those of the state: each array of it is read and written, except frozen
weights, which are read. What the chip holds from step to step need not move, so up to the size of
its cache is neither read nor written. Only the kernels are those of the program itself: another
program of the same step may need fewer.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from lstm_lab.compilation.build import Build
from lstm_lab.compilation.chips import Chip
from lstm_lab.compilation.memory import array_bytes
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import training_flops
from lstm_lab.tasks import Dataset, Split, Stream, longest, mean_steps, steps_per_epoch
from lstm_lab.training.layout import Layout
from lstm_lab.training.optimizer import is_frozen
from lstm_lab.utils.types import PyTree


class StepCost(NamedTuple):
    """The cost of one optimizer step of all lanes, on one device.

    Attributes:
      flops: of matrix products, at the mean length of the data.
      bytes: of the state, read and written.
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
    lanes, _ = _share(spec, layout, dataset)
    flops = step_flops(spec, layout, dataset)
    member = build.member
    # The best weights change at evaluations only.
    changed = array_bytes(member) - array_bytes(member.best)
    total = lanes * (2 * changed - _frozen_bytes(spec, member.params))
    counted = {} if build.run_chunk is None else build.run_chunk.cost_analysis() or {}
    xla = counted.get("flops"), counted.get("bytes accessed")
    if chip is None:
        return StepCost(flops, total, *xla, None, "")
    parts = {
        "products": flops / chip.flops_per_second(spec.model),
        "memory": max(0.0, total - 2 * chip.cache) / chip.bandwidth,
        "launches": (launches or 0.0) * chip.launch_seconds,
    }
    seconds = max(parts["products"], parts["memory"]) + parts["launches"]
    return StepCost(flops, total, *xla, seconds, max(parts, key=parts.__getitem__))


def step_flops(spec: RunSpec, layout: Layout, dataset: Dataset) -> float:
    """Returns the FLOP of the products of an optimizer step of all lanes, on one device.

    Args:
      spec, layout, dataset: as in `step_cost`.

    Example:
      step_flops(spec, Layout("single", 1, 1), dataset)
    """
    lanes, tokens = _share(spec, layout, dataset)
    length = longest(_training_split(dataset))
    return lanes * tokens * training_flops(layout.widen(spec), length)


def _training_split(dataset: Dataset) -> Split:
    """Returns the split whose lengths are those of training: generated data have none of it."""
    train = dataset.splits.get("train")
    return dataset.splits["valid"] if train is None else train


def _share(spec: RunSpec, layout: Layout, dataset: Dataset) -> tuple[int, float]:
    """Returns the lanes of a device, and the time steps that each reads there per optimizer step.

    Both are means over an epoch: its last batch may have fewer rows.
    """
    lanes = layout.lanes // (layout.devices if layout.kind == "members" else 1)
    rows, train = float(spec.train.batch_size), dataset.splits.get("train")
    if train is not None and not isinstance(train, Stream):
        rows = train.rows / steps_per_epoch(train, spec.train.batch_size)
    devices = layout.devices if layout.kind == "batch" else 1
    return lanes, rows / devices * mean_steps(_training_split(dataset))


def _frozen_bytes(spec: RunSpec, params: PyTree) -> float:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return array_bytes([w for path, w in leaves if is_frozen(spec.optim.freeze, path)])
