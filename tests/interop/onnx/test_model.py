"""The graph of a model: its inputs, outputs and names."""

import pytest

from lstm_lab.interop.onnx.model import model_graph
from lstm_lab.interop.portable import portable_model
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import small_spec


def graph_of(one_step=False, **model):
    return model_graph(portable_model(trained(small_spec(model=model, **SCAN))), one_step)


def test_inputs_and_outputs_have_the_names_of_the_states():
    graph = graph_of(cell="lstm", layers=2)
    states = ["layer_0.h", "layer_0.c", "layer_1.h", "layer_1.c"]
    assert [tensor.name for tensor in graph.inputs] == ["x", "lengths", *states]
    assert [tensor.name for tensor in graph.outputs] == [
        "logits",
        *(f"final.{name}" for name in states),
    ]
    assert graph.inputs[0].shape == ("batch", "time", 2)


def test_a_model_of_one_step_has_no_lengths_and_no_masks():
    graph = graph_of(one_step=True, cell="mgu")
    assert [tensor.name for tensor in graph.inputs] == ["x", "layer_0.h"]
    assert graph.inputs[0].shape == ("batch", 1, 2)
    (scan,) = [node for node in graph.nodes if node.operator == "Scan"]
    body = scan.attributes["body"]
    assert "Where" not in {node.operator for node in [*graph.nodes, *body.nodes]}


@pytest.mark.parametrize(("cell", "operators"), [("gru", "GRU"), ("cifg", "LSTM"), ("fgr", "Scan")])
def test_a_layer_is_one_operator_or_one_scan(cell, operators):
    nodes = [node.operator for node in graph_of(cell=cell, bidirectional=True).nodes]
    loops = [name for name in nodes if name in ("LSTM", "GRU", "RNN", "Scan")]
    assert loops == [operators] * 2


def test_products_with_the_same_side_are_one_product():
    graph = graph_of(cell="fgr")
    (scan,) = [node for node in graph.nodes if node.operator == "Scan"]
    products = [node for node in scan.attributes["body"].nodes if node.operator == "MatMul"]
    assert sorted(node.inputs[1] for node in products) == [
        *("layer_0.R_fi_ff_fo", "layer_0.R_ii_if_io", "layer_0.R_oi_of_oo"),
        "layer_0.U_i_f_g_o",
    ]


def test_outputs_that_nobody_reads_are_not_computed():
    # Only the last step has outputs, so those of all steps are not transposed.
    names = [name for node in graph_of(cell="lstm").nodes for name in node.outputs]
    assert "features" not in names
    assert "layer_0.outputs" not in names
