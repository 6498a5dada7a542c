"""Specs to cohorts, decided once: which runs share a program, at which width, in how many lanes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import jax

from lstm_lab.config import RunSpec
from lstm_lab.identity import program_key
from lstm_lab.summary import summarise
from lstm_lab.sweep.study import PlannedRun
from lstm_lab.train import widths
from lstm_lab.train.parallel import Layout, choose_layout, program_spec

# Runs of one cohort: few enough that several workers find something to do.
MOST_RUNS = 64
# A program's width over its narrowest member's: wider spares compilations, narrower arithmetic.
WIDTH_RATIO = 1.25
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


def plan_cohorts(runs: Mapping[str, PlannedRun], devices: int) -> list[PlannedCohort]:
    """Groups runs that one program can train, of one stage, in their order.

    Args:
      runs: by id.
      devices: local devices of the process that will train a cohort.

    Returns:
      The cohorts.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, run in runs.items():
        groups.setdefault((run.stage, _shared_key(run.spec)), []).append(name)
    cohorts = []
    for names in groups.values():
        for width, bucket in _buckets({name: runs[name].spec.model.hidden for name in names}):
            for first in range(0, len(bucket), MOST_RUNS):
                members = tuple(bucket[first : first + MOST_RUNS])
                spec = runs[members[0]].spec
                layout = _layout(spec, len(members), width, devices)
                cid = hashlib.sha256("".join(members).encode()).hexdigest()[:12]
                cohorts.append(PlannedCohort(cid, members, layout))
    return cohorts


def _shared_key(spec: RunSpec) -> str:
    """Returns what runs of one program share; the hidden size is free where they can be padded."""
    if widths.refusal(spec) is not None:
        return program_key(spec)
    return program_key(replace(spec, model=replace(spec.model, hidden=1)))


def _buckets(hidden: Mapping[str, int]) -> list[tuple[int | None, list[str]]]:
    """Splits runs into buckets of similar hidden size; a bucket of one size is not padded."""
    left = sorted(set(hidden.values()))
    buckets: list[tuple[int | None, list[str]]] = []
    while left:
        widest = left[-1]
        sizes = {size for size in left if size * WIDTH_RATIO > widest}
        left = [size for size in left if size not in sizes]
        names = [name for name, size in hidden.items() if size in sizes]
        buckets.append((widest if len(sizes) > 1 else None, names))
    return buckets[::-1]


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
    return 4.0 * COPIES * _parameters(program_spec(spec))


@cache
def _parameters(spec: RunSpec) -> int:
    return summarise(spec).total


@cache
def _memory() -> float:
    """Returns the bytes of memory that the first device, or the machine, has."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
