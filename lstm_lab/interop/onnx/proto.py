"""Turns a graph into a model of the package onnx, and checks it.

In: an `OnnxGraph`. Out: a `ModelProto` that passes ONNX' checker and strict inference of shapes.
This is the only file of the package that needs onnx. Read export.py next, which writes the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

from lstm_lab.interop.onnx.graph import OnnxGraph, OnnxNode, Tensor
from lstm_lab.utils.errors import UserError


def load_onnx() -> ModuleType:
    """Returns the package onnx.

    Raises:
      UserError: if it is not installed.

    Example:
      load_onnx().__version__
    """
    try:
        import onnx
    except ImportError:
        raise UserError("--to=onnx needs onnx: pip install 'lstm-lab[interop]'") from None
    return onnx


def model_proto(graph: OnnxGraph, name: str, opset: int, notes: Mapping[str, str]) -> Any:
    """Returns a checked model.

    Args:
      graph: the graph.
      name: its name.
      opset: version of the operators.
      notes: what is known of the model, for people: its metadata.

    Raises:
      onnx.checker.ValidationError, onnx.shape_inference.InferenceError: for a wrong graph, which is
        a bug of the writer.

    Example:
      model_proto(model_graph(model), "adding", 17, {"task": "adding"}).SerializeToString()
    """
    onnx = load_onnx()
    opsets = [onnx.helper.make_opsetid("", opset)]
    proto = onnx.helper.make_model(
        _graph_proto(onnx, graph, name),
        opset_imports=opsets,
        # The oldest format that has these operators, so that older runtimes read it, too.
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
        producer_name="lstm_lab",
        producer_version=version("lstm-lab"),
    )
    onnx.helper.set_model_props(proto, dict(notes))
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    return proto


def _graph_proto(onnx: ModuleType, graph: OnnxGraph, name: str) -> Any:
    return onnx.helper.make_graph(
        [_node_proto(onnx, node) for node in graph.nodes],
        name,
        [_tensor_proto(onnx, tensor) for tensor in graph.inputs],
        [_tensor_proto(onnx, tensor) for tensor in graph.outputs],
        [onnx.numpy_helper.from_array(a, name) for name, a in graph.constants.items()],
    )


def _node_proto(onnx: ModuleType, node: OnnxNode) -> Any:
    attributes = dict(node.attributes)
    for key, value in attributes.items():
        if isinstance(value, OnnxGraph):
            # Constants of a body belong to the graph around it.
            body = OnnxGraph(value.inputs, value.outputs, value.nodes)
            attributes[key] = _graph_proto(onnx, body, f"{node.outputs[-1]}.body")
        elif key == "to":
            attributes[key] = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value))
    # A node is named by its last output.
    return onnx.helper.make_node(
        node.operator, node.inputs, node.outputs, name=node.outputs[-1], **attributes
    )


def _tensor_proto(onnx: ModuleType, tensor: Tensor) -> Any:
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return onnx.helper.make_tensor_value_info(tensor.name, dtype, tensor.shape)
