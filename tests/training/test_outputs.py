"""What a task computes from the outputs of the test split: its names and numbers are checked."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.tasks import Parity
from lstm_lab.training.outputs import final_scores
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.errors import UserError
from tests.helpers.training import small_spec

CURVE = Curve("step", "accuracy", np.arange(3), np.array([1.0, 0.5, np.nan], np.float32))


def scores(curves, names=("by_step",)):
    class Curved(Parity):
        curve_names = names

        def final_curves(self, outputs, test, preprocessing):
            return curves

    task = Curved(length=3, valid_size=2, test_size=2)
    spec = replace(small_spec(), task=task)
    params = build_model(spec).init(np.zeros(2, np.uint32), zero_inputs(task, 1, 1))["params"]
    return final_scores(spec, params, task.load(None).splits["test"], {})


def test_curves_of_numpy_are_stored_as_numbers_of_python():
    assert scores({"by_step": CURVE}).curves == {
        "by_step": CURVE._replace(x=(0, 1, 2), y=(1.0, 0.5, None))
    }


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({"by_length": CURVE}, r"got \['by_length'\], expected the names in curve_names"),
        ({}, r"got \[\], expected"),
        ({"by_step": CURVE._replace(x=(1,))}, "parity: final_curves: got 1 places and 3 values"),
        ({"by_step": CURVE._replace(y=("a", 1, 2))}, "parity: final_curves: could not convert"),
    ],
)
def test_other_curves_are_refused_in_one_line(curves, message):
    with pytest.raises(UserError, match=message):
        scores(curves)
