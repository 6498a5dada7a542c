"""The settings that a study varies: axes of explicit values, and ranges for random trials.

A point is a dict from dotted settings to values, such as {"optim.lr": 0.01}. An axis is a list of
points, of which a run takes one. A study crosses its axes; `expand.py` turns the points into runs.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lstm_lab.results.labels import BASE, full_names, short_names
from lstm_lab.utils.errors import UserError, expect_several

Point = dict[str, object]


@dataclass(frozen=True)
class Axis:
    """Alternative points; each run takes one of them.

    Attributes:
      points: the points, in order.
      when: a condition on earlier axes or on the base config. If it does not hold, the axis is left
        out. Example: Nesterov momentum exists only for sgd.

    Example:
      axis = Axis(({"optim.name": "adam"}, {"optim.name": "sgd", "optim.momentum": 0.9}))
      axis.settings  # ("optim.name", "optim.momentum")
    """

    points: tuple[Point, ...]
    when: Point = field(default_factory=dict)

    @property
    def settings(self) -> tuple[str, ...]:
        """The dotted settings that the axis changes, in order."""
        return tuple(dict.fromkeys(setting for point in self.points for setting in point))


def grid(setting: str, values: Sequence[object], when: Mapping[str, object] | None = None) -> Axis:
    """Returns the axis of one setting.

    Args:
      setting: its dotted name.
      values: its values, in order.
      when: settings that must have these values; otherwise the axis is left out.

    Raises:
      UserError: for one value instead of several.

    Example:
      grid("optim.nesterov", (False, True), when={"optim.name": "sgd"})
    """
    expect_several(f"grid: {setting}", values)
    return Axis(tuple({setting: value} for value in values), dict(when or {}))


def zipped(
    settings: Mapping[str, Sequence[object]], when: Mapping[str, object] | None = None
) -> Axis:
    """Returns one axis of several settings that change together.

    Args:
      settings: the values of each setting; the k-th point takes the k-th value of all.
      when: as in `grid`.

    Raises:
      UserError: if the settings have different numbers of values, or one has no sequence of them.

    Example:
      zipped({"model.hidden": (32, 64), "optim.lr": (0.01, 0.005)})  # two points, not four
    """
    for setting, values in settings.items():
        expect_several(f"zipped: {setting}", values)
    counts = {setting: len(values) for setting, values in settings.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"zipped: got {counts} values, expected the same number for all settings")
    rows = zip(*settings.values(), strict=True)
    return Axis(tuple(dict(zip(settings, row, strict=True)) for row in rows), dict(when or {}))


def chain(*axes: Axis) -> Axis:
    """Returns one axis with the points of several axes, one after another.

    Args:
      *axes: the axes, without conditions.

    Raises:
      UserError: for an axis with a condition. `when` applies to a whole axis, not to some points.

    Example:
      chain(grid("model.hidden", (32, 64)), zipped({"model.hidden": (64,), "model.layers": (2,)}))
    """
    if any(axis.when for axis in axes):
        raise UserError("chain: got an axis with `when`, expected axes without a condition")
    return Axis(tuple(point for axis in axes for point in axis.points))


# ---- ranges of random trials


@dataclass(frozen=True)
class Uniform:
    """A uniform distribution on [low, high].

    Attributes:
      low, high: the bounds, of which low is the smaller one.

    Raises:
      UserError: for other bounds.

    Example:
      Uniform(0.0, 0.5).quantile(0.5)  # 0.25
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(
                f"Uniform: got low={self.low}, high={self.high}, expected low < high; set a single "
                "value in `base`, or as a Choice"
            )

    def quantile(self, u: float) -> float:
        """Returns the value below which the share u of all draws lies."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """A distribution whose logarithm is uniform: every order of magnitude is equally likely.

    Attributes:
      low, high: the bounds, both positive, of which low is the smaller one.
      integer: round to whole numbers.
      one_minus: return 1 - x. A momentum close to 1 matters on a log scale of its distance to 1, so
        LogUniform(0.01, 1.0, one_minus=True) covers momentum from 0 to 0.99.

    Raises:
      UserError: for other bounds, or for both options.

    Example:
      LogUniform(1e-4, 1e-2).quantile(0.5)  # 0.001
    """

    low: float
    high: float
    integer: bool = False
    one_minus: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise UserError(
                f"LogUniform: got low={self.low}, high={self.high}, expected 0 < low < high; set a "
                "single value in `base`, or as a Choice"
            )
        if self.integer and self.one_minus:
            raise UserError("LogUniform: got integer and one_minus, expected at most one of them")

    def quantile(self, u: float) -> float:
        """Returns the value below which (with `one_minus`, above which) the share u lies."""
        value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        if self.integer:
            return round(value)
        return 1.0 - value if self.one_minus else value


@dataclass(frozen=True)
class Choice:
    """One of several values, all equally likely.

    Attributes:
      values: the values.

    Raises:
      UserError: for one value instead of several.

    Example:
      Choice(("adam", "sgd")).quantile(0.7)  # 'sgd'
    """

    values: tuple[object, ...]

    def __post_init__(self) -> None:
        expect_several("Choice", self.values)

    def quantile(self, u: float) -> object:
        """Returns the value at the share u of the list."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Conditional:
    """A range that applies only if settings drawn earlier have the values in `when`.

    Example:
      momentum = Conditional({"optim.name": "sgd"}, Uniform(0.0, 0.99))
      ranges = {"optim.name": Choice(("adam", "sgd")), "optim.momentum": momentum}
      momentum.applies({"optim.name": "adam"})  # False
    """

    when: Mapping[str, object]
    range: Uniform | LogUniform | Choice

    def applies(self, point: Point) -> bool:
        """Returns whether the condition holds at a point."""
        return all(point.get(setting) == value for setting, value in self.when.items())


SearchRange = Uniform | LogUniform | Choice | Conditional


def random_points(
    count: int, seed: int, ranges: Mapping[str, SearchRange], stream: str = ""
) -> tuple[Point, ...]:
    """Draws random points.

    The value of a setting depends only on (seed, number of the trial, name of the setting, stream).
    So more trials, or a new range, leave all other values unchanged, and finished runs stay valid.

    Args:
      count: the number of points.
      seed: the seed of the draws.
      ranges: the distribution of each setting, in order.
      stream: different streams are independent; equal streams give equal points.

    Returns:
      The points.

    Raises:
      UserError: for a condition on a setting that is not drawn earlier.
    """
    drawn: set[str] = set()
    for setting, values in ranges.items():
        for name in values.when if isinstance(values, Conditional) else ():
            if name not in drawn:
                raise UserError(
                    f"ranges: {setting}: got when={name!r}, expected a setting drawn before it"
                )
        drawn.add(setting)
    return tuple(_random_point(k, seed, ranges, stream) for k in range(count))


def _random_point(number: int, seed: int, ranges: Mapping[str, SearchRange], stream: str) -> Point:
    point: Point = {}
    for setting, values in ranges.items():
        if isinstance(values, Conditional):
            if not values.applies(point):
                continue
            values = values.range
        # Hashed with crc32, not hash(): Python salts hash() of strings anew in every process.
        name = zlib.crc32(f"{stream}/{setting}".encode())
        point[setting] = values.quantile(np.random.default_rng([seed, number, name]).random())
    return point


# ---- combinations


def cross(axes: Sequence[Axis], base: Mapping[str, object] | None = None) -> list[Point]:
    """Returns every combination of the axes' points; without axes, one empty point.

    Args:
      axes: the axes, in order; the last one varies fastest.
      base: dotted settings that a condition may refer to in addition to earlier axes.

    Raises:
      UserError: if two axes change the same setting, or a condition names an unknown one.
    """
    settings = [setting for axis in axes for setting in axis.settings]
    repeated = sorted({setting for setting in settings if settings.count(setting) > 1})
    if repeated:
        raise UserError(
            f"axes: got {', '.join(repeated)} on two axes, expected each setting on one axis"
        )
    points: list[Point] = [{}]
    for axis in axes:
        points = list(
            itertools.chain.from_iterable(_extend(point, axis, base or {}) for point in points)
        )
    return points


def _extend(point: Point, axis: Axis, base: Mapping[str, object]) -> list[Point]:
    """Returns a point extended by each point of an axis; unchanged if the condition fails."""
    known = {**base, **point}
    for setting, value in axis.when.items():
        if setting not in known:
            raise UserError(
                f"axes: when: got {setting!r}, expected a setting of the config or an earlier axis"
            )
        if known[setting] != value:
            return [point]
    return [{**point, **added} for added in axis.points]


def by_label(points: Sequence[Point]) -> dict[str, Point]:
    """Returns points by their labels, which are as short as they can be without being equal.

    Args:
      points: the points of a study.

    Raises:
      UserError: for a point that is there twice.

    Example:
      >>> list(by_label([{"model.hidden": 16}, {"train.batch_size": 16}]))
      ['hidden=16', 'batch_size=16']
    """
    for name in (label, short_names, full_names):
        labels = [name(point) or BASE for point in points]
        if len(set(labels)) == len(points):
            return dict(zip(labels, points, strict=True))
    repeated = next(name for name in labels if labels.count(name) > 1)
    raise UserError(f"axes: got {repeated} twice, expected each variant once")


def label(point: Point) -> str:
    """Returns the name of a point: its value, or `name=value` pairs for several settings."""
    values = list(point.values())
    # A lone "True" would not say which setting is on.
    if len(values) == 1 and not isinstance(values[0], bool):
        return str(values[0])
    return short_names(point) or BASE
