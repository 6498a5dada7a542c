"""A study, declared before it runs: what is compared, over which seeds, tuned how, judged how."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstm_lab.config import RunSpec, build_spec, with_values
from lstm_lab.errors import UserError, unknown

Point = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """Settings that vary together.

    Attributes:
      paths: dotted settings, such as `model.cell`.
      values: for each point of the axis one value a path.
    """

    paths: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]


def grid(path: str, values: Sequence[Any]) -> Axis:
    """Returns the axis of one setting; axes of a study are crossed."""
    return Axis((path,), tuple((value,) for value in values))


def zipped(settings: Mapping[str, Sequence[Any]]) -> Axis:
    """Returns an axis of several settings that advance together.

    Raises:
      UserError: where they have different numbers of values.
    """
    counts = {path: len(values) for path, values in settings.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"zipped: found {counts}, allowed equally many values")
    return Axis(tuple(settings), tuple(zip(*settings.values(), strict=True)))


@dataclass(frozen=True)
class Tuning:
    """How every variant is tuned, with equal trials, on validation.

    Attributes:
      axes: what is searched, crossed.
      seeds: of each point; the study's own seeds have to be others.
      overrides: settings of tuning runs, such as fewer epochs.
    """

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    overrides: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Claim:
    """A planned comparison: `better` beats `worse`, by Welch's one-sided test."""

    better: str
    worse: str
    alpha: float = 0.05


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
      name: a short name.
      base: the config that all runs share.
      axes: what distinguishes the variants, crossed.
      seeds: of each variant.
      baseline: the label of the variant that the others are tested against, or None.
      tuning: how each variant is tuned first, or None.
      claims: planned comparisons.
      title: what the report is called.
    """

    name: str
    base: Mapping[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    baseline: str | None = None
    tuning: Tuning | None = None
    claims: tuple[Claim, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
      spec: the run.
      variant: the label of its point on the study's axes.
      stage: `tuning` or `final`.
      point: its values on the tuning axes.
    """

    spec: RunSpec
    variant: str
    stage: str
    point: Point


def cross(axes: Sequence[Axis]) -> list[Point]:
    """Returns every combination of the axes' points; of no axes, the empty one."""
    paths = [path for axis in axes for path in axis.paths]
    if len(set(paths)) < len(paths):
        raise UserError(f"study: a setting stands on two axes: {', '.join(paths)}")
    return [
        {
            path: value
            for axis, values in zip(axes, choice, strict=True)
            for path, value in zip(axis.paths, values, strict=True)
        }
        for choice in itertools.product(*(axis.values for axis in axes))
    ]


def label(point: Point) -> str:
    """Returns a variant's name: its value, or `name=value` for several settings."""
    if not point:
        return "base"
    if len(point) == 1:
        return str(next(iter(point.values())))
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())


def variants(study: Study) -> dict[str, Point]:
    """Returns the study's variants by label.

    Raises:
      UserError: for a study without runs, or names that are not its variants.
    """
    found = {label(point): point for point in cross(study.axes)}
    if not found or not study.seeds or (study.tuning and not study.tuning.seeds):
        raise UserError(f"study {study.name}: it has no runs; give every axis and seeds a value")
    named = {"baseline": study.baseline} if study.baseline is not None else {}
    for k, claim in enumerate(study.claims):
        named |= {f"claims[{k}].better": claim.better, f"claims[{k}].worse": claim.worse}
    for what, name in named.items():
        if name not in found:
            raise unknown(f"study {study.name}: {what}", name, found)
    if study.tuning and set(study.tuning.seeds) & set(study.seeds):
        raise UserError(
            f"study {study.name}: seeds and tuning.seeds share a seed; winners need fresh ones"
        )
    return found


def tuning_runs(study: Study) -> list[PlannedRun]:
    """Returns the runs of the tuning stage; none where nothing is tuned."""
    if study.tuning is None:
        return []
    return [
        _planned(study, name, values, "tuning", point, seed, study.tuning.overrides or {})
        for name, values in variants(study).items()
        for point in cross(study.tuning.axes)
        for seed in study.tuning.seeds
    ]


def final_runs(study: Study, chosen: Mapping[str, Point]) -> list[PlannedRun]:
    """Returns the runs that are compared, of those variants whose tuning has been decided.

    Args:
      study: the study.
      chosen: each variant's point on the tuning axes; where nothing is tuned, it is not read.
    """
    return [
        _planned(study, name, values, "final", dict(chosen.get(name, {})), seed, {})
        for name, values in variants(study).items()
        if study.tuning is None or name in chosen
        for seed in study.seeds
    ]


def _planned(
    study: Study,
    name: str,
    values: Point,
    stage: str,
    point: Point,
    seed: int,
    overrides: Mapping[str, Any],
) -> PlannedRun:
    config = with_values(study.base, {**values, **overrides, **point, "seed": seed})
    return PlannedRun(build_spec(config), name, stage, point)
