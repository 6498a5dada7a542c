"""Graphs as plain data, without the package onnx."""

import numpy as np
import pytest

from lstm_lab.interop.onnx.graph import OnnxGraph


def test_names_are_unique_also_in_the_body_of_a_loop():
    graph = OnnxGraph()
    assert graph.read("x", "float32", ("batch",)) == "x"
    assert graph.add("Tanh", ("x",), "x") == "x_2"
    assert graph.body().add("Tanh", ("x",), "x") == "x_3"


def test_a_body_shares_the_constants_of_its_graph():
    graph = OnnxGraph()
    graph.body().number(0.5)
    graph.axes(0, -1)
    assert set(graph.constants) == {"number_0.5", "axes_0_minus_1"}
    assert graph.constants["number_0.5"].dtype == np.float32


def test_a_name_holds_one_array():
    graph = OnnxGraph()
    graph.constant("w", np.zeros(2))
    graph.constant("w", np.zeros(2))
    with pytest.raises(ValueError, match="w: holds another array"):
        graph.constant("w", np.ones(2))


def test_only_what_outputs_need_remains():
    graph = OnnxGraph()
    x = graph.read("x", "float32", ("time",))
    body = graph.body()
    step = body.read("step", "float32", None)
    body.write(body.add("Mul", (step, body.number(2.0)), "twice"), "float32", None)
    graph.write(graph.add("Scan", (x,), "y", body=body, num_scan_inputs=1), "float32", ("time",))
    graph.add("Add", (x, graph.number(3.0)), "unused")
    pruned = graph.pruned()
    assert [node.operator for node in pruned.nodes] == ["Scan"]
    # The constant that only the body reads stays.
    assert set(pruned.constants) == {"number_2"}
    assert [tensor.name for tensor in pruned.inputs + pruned.outputs] == ["x", "y"]
