"""Which variants have an operator of ONNX, and its weights."""

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec
from lstm_lab.interop.onnx.export import form
from lstm_lab.interop.onnx.operators import has_operator, layer_operator
from lstm_lab.interop.portable import portable_model
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import small_spec

WITH_OPERATOR = {
    *("vanilla", "niaf", "noaf", "cifg", "np", "lstm", "peephole", "chrono"),
    *("variational", "variational_untied", "semeniuta", "weightdrop", "rnn", "gru"),
}


def test_forms_of_the_catalogue():
    layers = {name for name, variant in CATALOGUE.items() if form(variant.spec) == "layer"}
    assert layers == WITH_OPERATOR
    assert form(CATALOGUE["slstm"].spec) == "equations"


@pytest.mark.parametrize(
    "spec",
    [
        CellSpec(gates="fo", coupled=True),
        CellSpec(gates="io", coupled=True, coupled_offset=1.0),
        CellSpec(gates="ifo", zoneout=True),
    ],
)
def test_other_coupling_and_zoneout_have_none(spec):
    assert not has_operator(spec)


def test_gates_are_in_the_order_of_onnx():
    run = trained(small_spec(model={"cell": "peephole", "hidden": 3}, **SCAN))
    layer = portable_model(run).layers[0][0]
    weights = layer_operator(layer).weights
    i, f, o, g = (layer.params["wx"][:, k].T for k in range(4))
    np.testing.assert_array_equal(weights["W"][0], np.concatenate([i, o, f, g]))
    assert weights["R"].shape == (1, 12, 3)
    np.testing.assert_array_equal(weights["P"][0], layer.params["peephole"][[0, 2, 1]].ravel())
    np.testing.assert_array_equal(weights["B"][0, 12:], 0.0)
