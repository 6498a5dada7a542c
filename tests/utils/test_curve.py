"""Curves in results: what was written is read again, and anything else is refused."""

import json

import numpy as np
import pytest

from lstm_lab.utils.curve import Curve, plain_curve, read_curves

CURVE = Curve("length", "accuracy", (1, 2, 40.5), (1.0, None, 0.25), 2, "longest trained length")


def test_curves_survive_json():
    assert read_curves(json.loads(json.dumps({"a": CURVE._asdict()}))) == {"a": CURVE}
    assert read_curves({"a": CURVE._replace(mark=None)._asdict()})["a"].mark is None
    assert read_curves({}) == {}


def test_numbers_of_numpy_become_numbers_of_python():
    curve = CURVE._replace(
        x=np.array([1, 2, 3]), y=(np.float32(0.5), None, np.float64("inf")), mark=np.int64(2)
    )
    plain = plain_curve(curve)
    assert plain == CURVE._replace(x=(1, 2, 3), y=(0.5, None, None), mark=2)
    assert json.dumps(plain._asdict())
    assert read_curves({"a": plain._asdict()}) == {"a": plain}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (), "y": ()}, "got 0 places"),
        ({"x": (1, 2)}, "got 2 places and 3 values"),
        ({"x": (1, 2, float("nan"))}, "expected finite numbers"),
    ],
)
def test_curves_that_no_result_can_hold_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plain_curve(CURVE._replace(**change))


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
