"""What a task computes from the outputs of the test split: its names and numbers are checked."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import Examples, Parity
from lstm_lab.training.gate_stats import measure_gates
from lstm_lab.training.outputs import final_scores, outputs
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import SCAN, random_params, trained
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


@pytest.mark.parametrize("rate", [0.0, 0.9])
def test_outputs_have_the_zoneout_of_the_run_and_not_of_the_paper(rate):
    task = {"name": "dyck", "length": 6, "valid_size": 2, "test_size": 2}
    model = {"cell": "zoneout", "hidden": 4, "zoneout_c": rate, "zoneout_h": rate}
    run = trained(small_spec(task=task, model=model, **SCAN))
    x = np.array([[0, 1, 2, 3, 1, 0]])
    expected = build_model(run.spec).apply(
        {"params": run.params}, x, None, Regularization({"zoneout_c": rate, "zoneout_h": rate})
    )
    np.testing.assert_allclose(
        outputs(run.spec, run.params, Examples(x, None)), expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        build_model(run.spec).apply({"params": run.params}, x), expected, rtol=1e-5
    )
    at_paper = build_model(run.spec).apply(
        {"params": run.params}, x, None, Regularization({"zoneout_c": 0.5, "zoneout_h": 0.05})
    )
    assert np.abs(expected - at_paper).max() > 1e-3


def test_gate_statistics_have_the_zoneout_of_the_run():
    x, norms = np.zeros((2, 8, 2), np.float32), []
    for rate in (0.0, 0.9):
        spec = small_spec(model={"cell": "zoneout", "zoneout_c": rate}, **SCAN)
        stats = measure_gates(spec, random_params(spec), Examples(x, None))
        norms.append(float(stats["layer_0"].c_norm))
    # The smaller, the more of the zero state is kept.
    assert norms[1] < 0.7 * norms[0]
