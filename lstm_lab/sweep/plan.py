"""Specs to cohorts, decided once: which runs share a program, at which width, in how many lanes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import jax
import numpy as np

from lstm_lab.config.ids import program_key, program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import Summary, summarize
from lstm_lab.sweep.study import PlannedRun
from lstm_lab.tasks import Dataset, mean_steps
from lstm_lab.train import padding
from lstm_lab.train.layout import Layout, choose_layout

# Runs of one cohort: few enough that several workers find something to do.
MOST_RUNS = 64
# What compiling a program costs, in the operations that training does meanwhile: a device's five
# seconds. Wider buckets of hidden size spare it, narrower ones spare arithmetic on padding.
PROGRAM_FLOPS = {"cpu": 2e11}
PROGRAM_FLOPS_ELSEWHERE = 2e13
# Lanes of a device. One after another they only keep all devices busy; batched they fill one.
MOST_LANES = {"cpu": 8}
MOST_BATCHED_LANES = 256
# Arrays like the parameters that a member keeps: themselves, two moments, gradient, best so far.
COPIES = 5


@dataclass(frozen=True)
class PlannedCohort:
    """Runs that one program trains, by id, and how its lanes lie on the devices."""

    id: str
    runs: tuple[str, ...]
    layout: Layout


def plan_cohorts(
    runs: Mapping[str, PlannedRun], devices: int, tokens: Callable[[RunSpec], float]
) -> list[PlannedCohort]:
    """Groups runs that one program can train, of one stage, in their order.

    Args:
      runs: by id.
      devices: local devices of the process that will train a cohort.
      tokens: how many time steps a run reads, as `tokens_read` counts them.

    Returns:
      The cohorts.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, run in runs.items():
        groups.setdefault((run.stage, _shared_key(run.spec)), []).append(name)
    cohorts = []
    for names in groups.values():
        for width, bucket in _buckets({name: runs[name].spec for name in names}, tokens):
            for first in range(0, len(bucket), MOST_RUNS):
                members = tuple(bucket[first : first + MOST_RUNS])
                spec = runs[members[0]].spec
                layout = _layout(spec, len(members), width, devices)
                cid = hashlib.sha256("".join(members).encode()).hexdigest()[:12]
                cohorts.append(PlannedCohort(cid, members, layout))
    return cohorts


def _shared_key(spec: RunSpec) -> str:
    """Returns what runs of one program share; the hidden size is free where they can be padded."""
    if padding.unsupported_reason(spec) is not None:
        return program_key(spec)
    return program_key(replace(spec, model=replace(spec.model, hidden=1)))


def _buckets(
    specs: Mapping[str, RunSpec], tokens: Callable[[RunSpec], float]
) -> list[tuple[int | None, list[str]]]:
    """Splits runs into buckets of similar hidden size; a bucket of one size is not padded.

    cost = sum over buckets of (a program + flops per token at its width * its runs' tokens)

    The least of all splits of the sorted sizes, by dynamic programming.
    """
    load: dict[int, float] = {}
    for spec in specs.values():
        load[spec.model.hidden] = load.get(spec.model.hidden, 0.0) + tokens(spec)
    sizes = sorted(load)
    flops = _flops_by_width(next(iter(specs.values())), sizes)
    program = program_flops()
    before = np.cumsum([0.0, *(load[size] for size in sizes)])
    best, starts = np.zeros(len(sizes) + 1), []
    for last, price in enumerate(flops):
        costs = best[: last + 1] + program + price * (before[last + 1] - before[: last + 1])
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


def program_flops() -> float:
    """Returns what compiling a program costs on this machine's devices, in operations."""
    return PROGRAM_FLOPS.get(jax.default_backend(), PROGRAM_FLOPS_ELSEWHERE)


def _flops_by_width(spec: RunSpec, sizes: Sequence[int]) -> np.ndarray:
    """Returns the operations of training at a time step, by hidden size: a quadratic of it."""
    shown = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    known = [
        _summary(program_spec(replace(spec, model=replace(spec.model, hidden=size))))
        for size in shown
    ]
    flops = [summary.training_flops_per_token for summary in known]
    return np.polyval(np.polyfit(shown, flops, len(shown) - 1), sizes)


def tokens_read(spec: RunSpec, dataset: Dataset) -> float:
    """Returns how many time steps a run reads that is not stopped early."""
    train = dataset.splits.get("train")
    steps, _ = spec.schedule_steps(train)
    length = mean_steps(dataset.splits["valid"] if train is None else train)
    return steps * spec.train.batch_size * length


def _layout(spec: RunSpec, members: int, width: int | None, devices: int) -> Layout:
    usable = min(devices, spec.compute.devices or devices)
    wide = spec if width is None else replace(spec, model=replace(spec.model, hidden=width))
    most = min(lanes_that_fit(wide) // usable, _most_lanes()) * usable
    layout = choose_layout(min(members, max(most, 1)), spec.train.batch_size, usable)
    return replace(layout, width=width)


def _most_lanes() -> int:
    return MOST_LANES.get(jax.default_backend(), MOST_BATCHED_LANES)


def lanes_that_fit(spec: RunSpec) -> int:
    """Returns how many members' states half of the memory holds; one at least."""
    return max(1, int(_memory() / 2 / lane_bytes(spec)))


def lane_bytes(spec: RunSpec) -> float:
    """Returns the memory of one member's state, in bytes."""
    return 4.0 * COPIES * _summary(program_spec(spec)).total


@cache
def _summary(spec: RunSpec) -> Summary:
    return summarize(spec)


@cache
def _memory() -> float:
    """Returns the bytes of memory that the first device, or the machine, has."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
