"""Axes: what varies in a study, as points, and how axes combine.

A point is a dict of dotted settings, such as {"optim.lr": 0.01}. An axis is a list of points.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_lab.utils.errors import UserError

Point = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """Points of which each run takes one.

    Attributes:
      points: the points, in order.
      when: settings of axes before this one, or of the base; where they have other values, the axis
        is left out, as Nesterov's momentum is for every optimiser but sgd.
    """

    points: tuple[Point, ...]
    when: Point = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """The settings that the axis sets, in order."""
        return tuple(dict.fromkeys(path for point in self.points for path in point))


def grid(path: str, values: Sequence[Any], when: Mapping[str, Any] | None = None) -> Axis:
    """Returns the axis of one setting; axes of a study are crossed."""
    return Axis(tuple({path: value} for value in values), dict(when or {}))


def zipped(settings: Mapping[str, Sequence[Any]], when: Mapping[str, Any] | None = None) -> Axis:
    """Returns an axis of several settings that advance together.

    Raises:
      UserError: where they have different numbers of values.
    """
    counts = {path: len(values) for path, values in settings.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"zipped: found {counts}, allowed equally many values")
    rows = zip(*settings.values(), strict=True)
    return Axis(tuple(dict(zip(settings, row, strict=True)) for row in rows), dict(when or {}))


def chain(*axes: Axis) -> Axis:
    """Returns an axis that goes through the points of one axis after another.

    Raises:
      UserError: for an axis with a condition, which a part of an axis cannot have.
    """
    if any(axis.when for axis in axes):
        raise UserError("chain: found an axis with `when`, allowed axes without")
    return Axis(tuple(point for axis in axes for point in axis.points))


# ---- random trials


@dataclass(frozen=True)
class Uniform:
    """Numbers between two bounds, each as likely."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """Returns the value below which a share u of the draws lies."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """Numbers between two positive bounds, each order of magnitude as likely.

    Attributes:
      low, high: the bounds.
      integer: round to whole numbers.
      one_minus: one minus the number instead, for a momentum close to 1.
    """

    low: float
    high: float
    integer: bool = False
    one_minus: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise UserError(f"LogUniform: found {self.low} to {self.high}, allowed 0 < low <= high")
        if self.integer and self.one_minus:
            raise UserError("LogUniform: integer and one_minus exclude each other")

    def at(self, u: float) -> float:
        """Returns the value below which (with `one_minus`, above which) a share u lies."""
        value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        if self.integer:
            return round(value)
        return 1.0 - value if self.one_minus else value


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """Returns the value at a share u of the list."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Given:
    """A range that is drawn from only where settings drawn before have these values."""

    when: Mapping[str, Any]
    range: Uniform | LogUniform | Choice


Range = Uniform | LogUniform | Choice | Given


def random(trials: int, seed: int, ranges: Mapping[str, Range], stream: str = "") -> Axis:
    """Returns an axis of random trials.

    A trial's value of a setting depends on the seed, the trial's number, the setting's name and the
    stream alone: more trials or another range leave the others what they were.

    Args:
      trials: how many.
      seed: of the draws.
      ranges: what each setting is drawn from, in order.
      stream: trials of different streams are independent, those of one stream the same.

    Returns:
      The axis.

    Raises:
      UserError: for a condition on a setting that is not drawn before.
    """
    drawn: set[str] = set()
    for path, values in ranges.items():
        for name in values.when if isinstance(values, Given) else ():
            if name not in drawn:
                raise UserError(f"random: {path}: found when={name!r}, allowed a setting before it")
        drawn.add(path)
    return Axis(tuple(_trial(k, seed, ranges, stream) for k in range(trials)))


def _trial(number: int, seed: int, ranges: Mapping[str, Range], stream: str) -> Point:
    point: Point = {}
    for path, values in ranges.items():
        if isinstance(values, Given):
            if any(point.get(name) != value for name, value in values.when.items()):
                continue
            values = values.range
        name = zlib.crc32(f"{stream}/{path}".encode())
        point[path] = values.at(np.random.default_rng([seed, number, name]).random())
    return point


# ---- combining


def cross(axes: Sequence[Axis], base: Mapping[str, Any] | None = None) -> list[Point]:
    """Returns every combination of the axes' points; of no axes, the empty one.

    Args:
      axes: the axes, in order; the last varies fastest.
      base: dotted settings that conditions may refer to.

    Raises:
      UserError: where two axes set the same setting, or a condition names one that is set nowhere.
    """
    paths = [path for axis in axes for path in axis.paths]
    if len(set(paths)) < len(paths):
        raise UserError(f"study: a setting stands on two axes: {', '.join(paths)}")
    points: list[Point] = [{}]
    for axis in axes:
        points = list(
            itertools.chain.from_iterable(_extended(point, axis, base or {}) for point in points)
        )
    return points


def _extended(point: Point, axis: Axis, base: Mapping[str, Any]) -> list[Point]:
    known = {**base, **point}
    for path, value in axis.when.items():
        if path not in known:
            raise UserError(f"study: when: no axis before and no config sets {path!r}")
        if known[path] != value:
            return [point]
    return [{**point, **added} for added in axis.points]


def label(point: Point) -> str:
    """Returns a variant's name: its value, or `name=value` for several settings."""
    if not point:
        return "base"
    values = list(point.values())
    if len(values) == 1 and not isinstance(values[0], bool):
        return str(values[0])
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())
