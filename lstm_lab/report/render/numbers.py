"""All numbers of a comparison as JSON, for programs that read a report.

In: a `Comparison`. Out: the content of report.json, whose names are those of the fields of
`Comparison` and `VariantRow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lstm_lab.report.comparison import Comparison
from lstm_lab.utils.types import JSON

# Long, and in the folders of the runs and in results.csv.
LEFT_OUT = ("curves", "curve", "trials")


def comparison_numbers(c: Comparison) -> dict[str, JSON]:
    """Returns the content of report.json.

    Args:
      c: the comparison.
    """
    numbers: dict[str, JSON] = _plain(c)
    numbers["pairwise"] = [{"a": a, "b": b, "p": p} for (a, b), p in c.pairwise.items()]
    return numbers


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in LEFT_OUT]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        # JSON has no pairs as keys: interactions of two hyperparameters.
        return {
            " x ".join(key) if isinstance(key, tuple) else key: _plain(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
