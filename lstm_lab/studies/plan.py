"""From runs to cohorts: which runs share a compiled program, at which width, in how many lanes.

Runs whose specs differ only in numbers (seed, learning rate, dropout rates) share one program. Runs
of different hidden size can share one too, padded to a common width. Compiling costs seconds,
padding costs arithmetic; `_buckets` finds the cheapest compromise. The plan is made once and kept
in study.json, because a run's bits depend on its layout.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from lstm_lab.config.ids import program_key
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize_program
from lstm_lab.recurrence import DeviceType, own_device_type
from lstm_lab.studies.expand import PlannedRun
from lstm_lab.tasks import Dataset, mean_steps
from lstm_lab.training import padding
from lstm_lab.training.layout import Layout, choose_layout, usable_devices

# Runs per cohort. A cohort is the unit that a worker takes, so a few hundred runs have to make
# enough cohorts for several workers.
MAX_RUNS = 64
# The cost of compiling a program, in the FLOP that training could do in that time: about 5 s. A
# higher cost gives wider buckets of hidden size, so fewer programs and more padding.
PROGRAM_FLOPS = {"cpu": 2e11}
PROGRAM_FLOPS_ACCELERATOR = 2e13
# Lanes per device. On CPU lanes run one after another, so more of them bring no speed; a few keep
# the devices equally busy. On an accelerator lanes are batched and fill it.
MAX_LANES = {"cpu": 8}
MAX_LANES_ACCELERATOR = 256
# Arrays of the size of the parameters that one member keeps: the parameters, two moments of the
# optimizer, the gradient, and the best parameters so far.
COPIES = 5


class DevicePool(NamedTuple):
    """The devices for which cohorts are planned.

    Attributes:
      type: of each device.
      devices: the number of devices of the process that will train a cohort.
      memory: of each device, in bytes.
    """

    type: DeviceType
    devices: int
    memory: float

    @property
    def on_cpu(self) -> bool:
        """Whether the devices are CPUs, on which lanes run one after another."""
        return self.type.platform == "cpu"


def own_pool() -> DevicePool:
    """Returns the devices of this process."""
    return DevicePool(own_device_type(), jax.local_device_count(), _own_memory())


@dataclass(frozen=True)
class PlannedCohort:
    """Runs that one program trains.

    Attributes:
      id: a hash of the ids of the runs.
      runs: the ids of the runs.
      layout: how the lanes lie on the devices.
    """

    id: str
    runs: tuple[str, ...]
    layout: Layout


def plan_cohorts(
    runs: Mapping[str, PlannedRun], pool: DevicePool, tokens: Callable[[RunSpec], float]
) -> list[PlannedCohort]:
    """Groups runs of one stage that one program can train, in their order.

    Args:
      runs: the runs, by id.
      pool: the devices of the process that will train a cohort.
      tokens: the number of time steps that a run reads, as `count_tokens` returns it.

    Returns:
      The cohorts.
    """
    # By stage, too: final runs are planned when tuning has chosen their points.
    groups: dict[tuple[str, str], list[str]] = {}
    for name, run in runs.items():
        groups.setdefault((run.stage, _group_key(run.spec)), []).append(name)
    cohorts, compiling = [], program_flops(pool.type)
    for names in groups.values():
        specs = {name: runs[name].spec for name in names}
        for width, bucket in _buckets(specs, tokens, compiling):
            for first in range(0, len(bucket), MAX_RUNS):
                members = tuple(bucket[first : first + MAX_RUNS])
                spec = runs[members[0]].spec
                layout = _layout(spec, len(members), width, pool)
                cohort_id = hashlib.sha256("".join(members).encode()).hexdigest()[:12]
                cohorts.append(PlannedCohort(cohort_id, members, layout))
    return cohorts


def _group_key(spec: RunSpec) -> str:
    """Returns a key that is equal for runs of one program, whatever their hidden size.

    Models that cannot be padded, such as those with layer norm, keep their size in the key.
    """
    if padding.unsupported_reason(spec) is not None:
        return program_key(spec)
    return program_key(replace(spec, model=replace(spec.model, hidden=1)))


def _buckets(
    specs: Mapping[str, RunSpec], tokens: Callable[[RunSpec], float], compiling: float
) -> list[tuple[int | None, list[str]]]:
    """Splits runs into buckets of similar hidden size, at the least total cost.

    cost = sum over buckets of (FLOP of compiling + FLOP per token at its width * tokens of its
    runs), where the width of a bucket is its largest size.

    An optimal bucket holds consecutive sizes, because a size between two others costs least in
    their bucket. So dynamic programming over the sorted sizes finds the optimum:
    best[j + 1] = min over i <= j of best[i] + cost of the bucket sizes[i..j].

    Args:
      specs: the runs of one group, by name.
      tokens: as in `plan_cohorts`.
      compiling: as `program_flops` returns it.

    Returns:
      The width of each bucket, None if it has one size and needs no padding, and the names of its
      runs.
    """
    load: dict[int, float] = {}
    for spec in specs.values():
        load[spec.model.hidden] = load.get(spec.model.hidden, 0.0) + tokens(spec)
    sizes = sorted(load)
    # Any run of the group serves: they differ in seeds, rates and hidden size only.
    flops = _flops_by_width(next(iter(specs.values())), sizes)
    # Tokens of all sizes before the k-th, so that a bucket's tokens are one difference.
    tokens_before = np.cumsum([0.0, *(load[size] for size in sizes)])
    best, starts = np.zeros(len(sizes) + 1), []
    for last, price in enumerate(flops):
        bucket_tokens = tokens_before[last + 1] - tokens_before[: last + 1]
        costs = best[: last + 1] + compiling + price * bucket_tokens
        starts.append(int(np.argmin(costs)))
        best[last + 1] = costs.min()
    buckets: list[tuple[int | None, list[str]]] = []
    end = len(sizes)
    while end:
        first = starts[end - 1]
        bucket = set(sizes[first:end])
        names = [name for name, spec in specs.items() if spec.model.hidden in bucket]
        buckets.append((sizes[end - 1] if len(bucket) > 1 else None, names))
        end = first
    return buckets[::-1]


def program_flops(device: DeviceType) -> float:
    """Returns the cost of compiling one program for a type of device, in FLOP."""
    return PROGRAM_FLOPS.get(device.platform, PROGRAM_FLOPS_ACCELERATOR)


def _flops_by_width(spec: RunSpec, sizes: Sequence[int]) -> np.ndarray:
    """Returns the FLOP of training per time step, for each hidden size.

    The count is a quadratic polynomial of the size. Three sizes determine it, and tracing a model
    for each of up to two hundred sizes would take minutes.
    """
    samples = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    summaries = [
        summarize_program(replace(spec, model=replace(spec.model, hidden=size))) for size in samples
    ]
    flops = [summary.training_flops_per_token for summary in summaries]
    return np.polyval(np.polyfit(samples, flops, len(samples) - 1), sizes)


def count_tokens(spec: RunSpec, dataset: Dataset) -> float:
    """Returns the number of time steps that a run reads if it is not stopped early."""
    train = dataset.splits.get("train")
    steps, _ = spec.schedule_steps(train)
    # A task without a training split generates its batches; its validation split has their length.
    length = mean_steps(dataset.splits["valid"] if train is None else train)
    return steps * spec.train.batch_size * length


def _layout(spec: RunSpec, members: int, width: int | None, pool: DevicePool) -> Layout:
    usable = usable_devices(spec, pool.devices)
    padded = spec if width is None else replace(spec, model=replace(spec.model, hidden=width))
    limit = MAX_LANES.get(pool.type.platform, MAX_LANES_ACCELERATOR)
    most = max(min(lanes_that_fit(padded, pool.memory) // usable, limit) * usable, 1)
    lanes = min(members, most)
    if pool.on_cpu and lanes > usable:
        # Six tuning runs and five final ones shall share a program, and idle lanes cost nothing.
        per_device = -(-lanes // usable)
        lanes = min(usable * 2 ** (per_device - 1).bit_length(), most)
    return replace(choose_layout(lanes, spec.train.batch_size, usable), width=width)


def lanes_that_fit(spec: RunSpec, memory: float) -> int:
    """Returns the number of members whose states fit in half of a memory; at least one.

    The other half is for activations. They depend on the backend, so they are not estimated; a
    cohort that runs out of memory is tried again with half the lanes.
    """
    return max(1, int(memory / 2 / lane_bytes(spec)))


def lane_bytes(spec: RunSpec) -> float:
    """Returns the memory of one member's state, in bytes."""
    return 4.0 * COPIES * summarize_program(spec).total


@cache
def _own_memory() -> float:
    """Returns the memory of the first device, or of the machine if it reports none, in bytes."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
