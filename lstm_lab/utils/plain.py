"""Results as values that a JSON file can hold.

In: nested dataclasses, tuples, mappings and arrays. Out: dicts, lists, numbers and texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lstm_lab.utils.types import JSON


def plain(value: Any, left_out: Collection[str] = (), as_text: tuple[type, ...] = ()) -> JSON:
    """Returns a value as JSON: dataclasses and named tuples are objects with their fields.

    A complex number of an array is a pair of its parts. A key of several names is one text.

    Args:
      value: the value.
      left_out: names of fields of dataclasses, at any depth, that the result does not have.
      as_text: types whose values are written as `str` shows them.

    Example:
      plain({("lr", "hidden"): np.array([0.5, 1j])})  # {"lr x hidden": [[0.5, 0.0], [0.0, 1.0]]}
    """

    def inner(value: Any) -> JSON:
        return plain(value, left_out, as_text)

    if isinstance(value, as_text):
        return str(value)
    if isinstance(value, np.ndarray):
        return (
            np.stack([value.real, value.imag], -1) if np.iscomplexobj(value) else value
        ).tolist()
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in left_out]
        return {name: inner(getattr(value, name)) for name in names}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return inner(value._asdict())
    if isinstance(value, Mapping):
        # JSON has no pairs as keys: interactions of two hyperparameters.
        return {
            " x ".join(key) if isinstance(key, tuple) else key: inner(entry)
            for key, entry in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [inner(entry) for entry in value]
    return value
