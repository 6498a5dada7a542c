"""The graph of a whole model: inputs, stack and head.

In: a portable model. Out: an `OnnxGraph`. Its inputs are tokens [batch,time] or vectors
[batch,time,D], `lengths` [batch], and the initial states by their names. Its outputs are `logits`
and the final states. The model of one step is the same graph with a time of 1 and without lengths.
Read operators.py and scan.py for a layer, proto.py for the file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.interop.onnx.operators import has_operator, write_operator
from lstm_lab.interop.onnx.scan import write_scan
from lstm_lab.interop.portable import PortableLayer, PortableModel

FINAL = "final."  # the name of a final state is that of the initial one after this


class RealSteps(NamedTuple):
    """Which steps are real; all fields are "" in a model of one step, where all are.

    Attributes:
      lengths_B: real steps of each row, int32.
      last_B1: index of the last real step, 0 for a row without steps, int64.
      is_real_TB1: which steps are real.
      is_started_B1: which rows have real steps.

    Example:
      RealSteps()  # every step is real
    """

    lengths_B: str = ""
    last_B1: str = ""
    is_real_TB1: str = ""
    is_started_B1: str = ""


def model_graph(model: PortableModel, one_step: bool = False) -> OnnxGraph:
    """Returns the graph of a model.

    Args:
      model: the model.
      one_step: whether it reads one step and no lengths, for answers after each step.

    Example:
      [tensor.name for tensor in model_graph(model).inputs]
      # ["tokens", "lengths", "layer_0.h", "layer_0.c"]
    """
    graph = OnnxGraph()
    time = 1 if one_step else "time"
    if model.vocabulary is None:
        data = graph.read("x", "float32", ("batch", time, model.features))
    else:
        data = graph.read("tokens", "int64", ("batch", time))
    steps = RealSteps() if one_step else _steps(graph, data)
    x_BTD = _stack_inputs(graph, model, data, steps)
    h_TBH = graph.add("Transpose", (x_BTD,), "inputs_over_time", perm=[1, 0, 2])
    last_BH, finals = "", dict[str, str]()
    for number, directions in enumerate(model.layers):
        outputs, lasts = [], []
        for layer in directions:
            output_TBH, final = _write_layer(graph, layer, h_TBH, steps)
            finals |= {f"{layer.name}.{field}": state for field, state in final.items()}
            outputs.append(output_TBH)
            lasts.append(final["h"])
        name = f"layer_{number}"
        output_TBH = _merge(graph, model, outputs, f"{name}.merged")
        output_BH = _merge(graph, model, lasts, f"{name}.merged_last")
        if model.residual and number > 0:
            output_TBH = graph.add("Add", (output_TBH, h_TBH), f"{name}.residual")
            output_BH = graph.add("Add", (output_BH, last_BH), f"{name}.residual_last")
        h_TBH, last_BH = output_TBH, output_BH
    logits = _head(graph, model, h_TBH, last_BH)
    shape = ("batch", time) if model.every_step else ("batch",)
    graph.write(logits, "float32", (*shape, len(model.bias_C)))
    for state in graph.inputs[-len(model.state_names) :]:
        final_name = graph.add("Identity", (finals[state.name],), f"{FINAL}{state.name}")
        graph.write(final_name, "float32", state.shape)
    return graph.pruned()


def _steps(graph: OnnxGraph, data: str) -> RealSteps:
    """Adds the input `lengths`, and what layers need to know of it."""
    lengths_B = graph.read("lengths", "int32", ("batch",))
    T = graph.add("Shape", (data,), "T", start=1, end=2)
    limits = (_integer(graph, 0), graph.add("Squeeze", (T,), "T_scalar"), _integer(graph, 1))
    step_T = graph.add("Range", limits, "step")
    step_T11 = graph.add("Unsqueeze", (step_T, graph.axes(1, 2)), "step_column")
    long_B = graph.add("Cast", (lengths_B,), "lengths_int64", to="int64")
    long_B1 = graph.add("Unsqueeze", (long_B, graph.axes(1)), "lengths_column")
    before_end = graph.add("Sub", (long_B1, _integer(graph, 1)), "lengths_minus_1")
    return RealSteps(
        lengths_B,
        graph.add("Max", (before_end, _integer(graph, 0)), "last_step"),
        graph.add("Less", (step_T11, long_B1), "is_real"),
        graph.add("Greater", (long_B1, _integer(graph, 0)), "is_started"),
    )


def _integer(graph: OnnxGraph, value: int) -> str:
    return graph.constant(f"integer_{value}", np.array(value, np.int64))


def _stack_inputs(graph: OnnxGraph, model: PortableModel, data: str, steps: RealSteps) -> str:
    """Returns what the stack reads [B,T,D]: embeddings, one-hot vectors, or vectors."""
    if model.vocabulary is not None and steps.is_real_TB1:
        # Padding may hold any number, such as -1; a lookup of it would fail.
        real_TB = graph.add("Squeeze", (steps.is_real_TB1, graph.axes(2)), "is_real_time_major")
        real_BT = graph.add("Transpose", (real_TB,), "is_real_token", perm=[1, 0])
        data = graph.add("Where", (real_BT, data, _integer(graph, 0)), "real_tokens")
    if model.embedding_VE is not None:
        table_VE = graph.constant("embedding", model.embedding_VE)
        return graph.add("Gather", (table_VE, data), "embedded")
    if model.vocabulary is not None:
        depth = graph.constant("vocabulary", np.array(model.vocabulary, np.int64))
        values = graph.constant("off_and_on", np.array([0, 1], np.float32))
        return graph.add("OneHot", (data, depth, values), "one_hot")
    if model.subtract_last:
        last_BD = graph.add("GatherND", (data, steps.last_B1), "last_vector", batch_dims=1)
        last_B1D = graph.add("Unsqueeze", (last_BD, graph.axes(1)), "last_vector_row")
        return graph.add("Sub", (data, last_B1D), "x_minus_last")
    return data


def _write_layer(
    graph: OnnxGraph, layer: PortableLayer, x_TBD: str, steps: RealSteps
) -> tuple[str, dict[str, str]]:
    """Adds a layer in one direction; returns its outputs [T,B,H] and final state by field."""
    initial = {
        field: graph.read(f"{layer.name}.{field}", "float32", ("batch", size))
        for field, size in layer.state_sizes.items()
    }
    if not has_operator(layer.spec):
        return write_scan(graph, layer, x_TBD, steps.is_real_TB1, initial)
    h_TBH, final = write_operator(graph, layer, x_TBD, steps.lengths_B, initial)
    if steps.is_started_B1:
        # Of a row without steps, the operators return zeros in place of the initial state.
        final = {
            field: graph.add(
                "Where", (steps.is_started_B1, state, initial[field]), f"{layer.name}.{field}.kept"
            )
            for field, state in final.items()
        }
    return h_TBH, final


def _merge(graph: OnnxGraph, model: PortableModel, outputs: list[str], name: str) -> str:
    """Joins the outputs of one or two directions [...,H]."""
    if len(outputs) == 1:
        return outputs[0]
    match model.merge:
        case "concat":
            return graph.add("Concat", outputs, name, axis=-1)
        case "sum":
            return graph.add("Add", outputs, name)
        case "mean":
            return graph.add("Mean", outputs, name)
        case "product":
            return graph.add("Mul", outputs, name)


def _head(graph: OnnxGraph, model: PortableModel, h_TBH: str, last_BH: str) -> str:
    """Returns the logits [B,T,C], or [B,C] after the last real step."""
    if model.tied:
        table_VE = graph.constant("embedding", model.kernel_KC.T)
        kernel_KC = graph.add("Transpose", (table_VE,), "head.kernel", perm=[1, 0])
    else:
        kernel_KC = graph.constant("head.kernel", model.kernel_KC)
    features = last_BH
    if model.every_step:
        features = graph.add("Transpose", (h_TBH,), "features", perm=[1, 0, 2])
    product = graph.add("MatMul", (features, kernel_KC), "head.product")
    return graph.add("Add", (product, graph.constant("head.bias", model.bias_C)), "logits")
