"""Curves in results: what was written is read again, and anything else is refused."""

import json

import pytest

from lstm_lab.utils.curve import Curve, read_curves

CURVE = Curve("length", "accuracy", (1, 2, 40.5), (1.0, None, 0.25), 2, "longest trained length")


def test_curves_survive_json():
    assert read_curves(json.loads(json.dumps({"a": CURVE._asdict()}))) == {"a": CURVE}
    assert read_curves({"a": CURVE._replace(mark=None)._asdict()})["a"].mark is None
    assert read_curves({}) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"x": [1, 2]},
        {"x": [1, 2, "3"]},
        {"x": [1, None, 3]},
        {"x": [], "y": []},
        {"x": "123"},
        {"y": {"0": 1}},
        {"y": [1, True, 0]},
        {"y_name": 3},
        {"mark": "forty"},
        {"more": 1},
    ],
    ids=str,
)
def test_other_data_are_no_curves(change):
    assert read_curves({"a": {**CURVE._asdict(), **change}}) is None
    assert read_curves({"a": CURVE._asdict(), "b": None}) is None
    assert read_curves([CURVE._asdict()]) is None
    assert read_curves(None) is None
