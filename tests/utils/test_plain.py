"""Results as JSON."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstm_lab.utils.plain import plain


class Place(NamedTuple):
    layer: int
    unit: int

    def __str__(self):
        return f"unit {self.unit} of layer {self.layer}"


@dataclass(frozen=True)
class Result:
    value: Any
    curve: Any = None


def test_nested_results_are_written_and_read_again():
    value = {
        ("lr", "hidden"): np.array([[1, 2], [3, 4]]),
        "eigenvalues": np.array([0.5, 1.0 - 2.0j]),
        "results": [Result((Place(0, 3), None, "x"), Result(1.5))],
    }
    written = plain(value)
    assert json.loads(json.dumps(written)) == written
    assert written == {
        "lr x hidden": [[1, 2], [3, 4]],
        "eigenvalues": [[0.5, 0.0], [1.0, -2.0]],
        "results": [
            {
                "value": [{"layer": 0, "unit": 3}, None, "x"],
                "curve": {"value": 1.5, "curve": None},
            }
        ],
    }


def test_fields_are_left_out_and_types_are_texts_at_any_depth():
    value = Result([Result(Place(0, 3), curve=7)], curve=8)
    written = plain(value, left_out=("curve",), as_text=(Place,))
    assert written == {"value": [{"value": "unit 3 of layer 0"}]}
