"""A curve that a result holds: one quantity over another, such as the accuracy over the length.

In: numbers. Out: a `Curve`, and its form in a JSON file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_lab.utils.types import JSON


class Curve(NamedTuple):
    """One quantity over another.

    Attributes:
      x_name, y_name: what the axes show, such as "length" and "accuracy".
      x: the places, rising.
      y: the value at each place; None where it is not finite.
      mark: a place of x that figures mark, such as the longest trained length; or None.
      mark_name: what it is.

    Example:
      Curve("length", "accuracy", (39, 40, 41), (1.0, 1.0, 0.9), 40, "longest trained length")
    """

    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    mark: float | None = None
    mark_name: str = ""


def plain_curve(curve: Curve) -> Curve:
    """Returns a curve of Python's numbers, with None for a y that is not finite, as in JSON.

    Args:
      curve: a curve, of Python's or of NumPy's numbers.

    Raises:
      ValueError: if x and y have no places, different numbers of places, or x is not finite.

    Example:
      plain_curve(Curve("length", "accuracy", np.arange(2), np.array([1.0, np.nan]))).y
      # (1.0, None)
    """
    x = np.asarray(curve.x).tolist()
    y = [math.nan if value is None else float(value) for value in curve.y]
    if not len(x) == len(y) > 0:
        raise ValueError(f"got {len(x)} places and {len(y)} values, expected one or more of both")
    if not all(map(math.isfinite, x)):
        raise ValueError(f"got places {x}, expected finite numbers")
    return curve._replace(
        x=tuple(x),
        y=tuple(value if math.isfinite(value) else None for value in y),
        mark=None if curve.mark is None else float(curve.mark),
    )


def read_curves(data: JSON) -> dict[str, Curve] | None:
    """Returns the curves of a JSON file by name; None for data of another form.

    Args:
      data: an object that has the fields of a `Curve` for each name.

    Example:
      read_curves({"by_length": curve._asdict()})  # {"by_length": curve}
    """
    if not isinstance(data, Mapping) or not all(map(_is_curve, data.values())):
        return None
    return {
        name: Curve(**{**fields, "x": tuple(fields["x"]), "y": tuple(fields["y"])})
        for name, fields in data.items()
    }


def _is_curve(fields: JSON) -> bool:
    if not isinstance(fields, Mapping) or set(fields) != set(Curve._fields):
        return False
    texts, x, y = (fields[name] for name in ("x_name", "y_name", "mark_name")), *_places(fields)
    return (
        all(isinstance(text, str) for text in texts)
        and len(x) == len(y) > 0
        and all(map(_is_number, x))
        and all(value is None or _is_number(value) for value in y)
        and (fields["mark"] is None or _is_number(fields["mark"]))
    )


def _places(fields: Mapping[str, JSON]) -> tuple[list[JSON], list[JSON]]:
    """Returns x and y; empty lists for anything that is no list."""
    x, y = ([*fields[name]] if isinstance(fields[name], (list, tuple)) else [] for name in "xy")
    return x, y


def _is_number(value: JSON) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
