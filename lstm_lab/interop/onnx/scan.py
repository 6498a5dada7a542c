"""Layers as a Scan over time, whose body is written from the equations of the cell.

In: a layer of a portable model. Out: nodes for what reads only the input, for all steps at once,
and a Scan whose body has the equations that read the state. Every cell with known equations can be
written so; operators.py has the shorter form for those that ONNX knows. Read split_steps.py for the
two parts, expression_nodes.py for a single expression.
"""

from __future__ import annotations

import numpy as np

from lstm_lab.interop.onnx.expression_nodes import ExpressionWriter
from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.interop.onnx.split_steps import split_equations
from lstm_lab.interop.portable import PortableLayer
from lstm_lab.interop.trained_equations import state_vectors, trained_equations


def write_scan(
    graph: OnnxGraph, layer: PortableLayer, x_TBD: str, is_real_TB1: str, initial: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Adds a layer as a Scan.

    Args:
      graph: the graph.
      layer: the layer.
      x_TBD: its inputs.
      is_real_TB1: which steps are real; they alone change the state. "" if all are real.
      initial: its initial state [B,size], by field.

    Returns:
      Outputs [T,B,H], zero in the padding, and the final state by field.

    Example:
      h_TBH, final = write_scan(graph, layer, x_TBD, is_real_TB1, {"h": "layer_0.h"})
    """
    split = split_equations(trained_equations(layer.spec, layer.rates))
    before = ExpressionWriter(graph, layer, layer.name, split.all_steps, {"x": x_TBD})
    before.write_all()
    scanned = ([is_real_TB1] if is_real_TB1 else []) + [before.values[v] for v in split.carried]

    body = graph.body()
    old = {
        field: body.read(f"{layer.name}.{field}.old", "float32", None)
        for field in layer.state_sizes
    }
    is_real_B1 = body.read(f"{layer.name}.is_real", "bool", None) if is_real_TB1 else ""
    values = {
        name: body.read(f"{before.values[name]}.step", "float32", None) for name in split.carried
    }
    step = ExpressionWriter(body, layer, f"{layer.name}.step", split.one_step, values)
    step.old = _old_vectors(body, layer, old)
    step.write_all()
    _write_outputs(body, layer, step.values, old, is_real_B1)

    backwards = int(layer.reverse)
    *finals, h_TBH = graph.add_many(
        "Scan",
        [*initial.values(), *scanned],
        (*(f"{layer.name}.{field}.last" for field in initial), f"{layer.name}.outputs"),
        body=body,
        num_scan_inputs=len(scanned),
        # Backwards, padding comes first and leaves the initial state as it is.
        scan_input_directions=[backwards] * len(scanned),
        scan_output_directions=[backwards],
    )
    return h_TBH, dict(zip(initial, finals, strict=True))


def _old_vectors(body: OnnxGraph, layer: PortableLayer, old: dict[str, str]) -> dict[str, str]:
    """Returns the tensors of the step before by their names in the equations."""
    places = state_vectors(layer)
    vectors = {name: old[field] for name, (field, _) in places.items() if field != "gates"}
    gates = [name for name, (field, _) in places.items() if field == "gates"]
    if gates:
        names = [f"{layer.name}.{gate}.old" for gate in gates]
        sizes = body.constant(
            f"{layer.name}.gates.sizes", np.full(len(gates), layer.units, np.int64)
        )
        tensors = body.add_many("Split", (old["gates"], sizes), names, axis=-1)
        vectors |= zip(gates, tensors, strict=True)
    return vectors


def _write_outputs(
    body: OnnxGraph,
    layer: PortableLayer,
    values: dict[str, str],
    old: dict[str, str],
    is_real_B1: str,
) -> None:
    """Makes the new state and the output of the step the outputs of a body."""
    places, h_BH = state_vectors(layer), values["h"]
    for field in layer.state_sizes:
        new = [values[name] for name, (place, _) in places.items() if place == field]
        state = new[0]
        if len(new) > 1:
            state = body.add("Concat", new, f"{layer.name}.{field}.joined", axis=-1)
        if is_real_B1:
            state = body.add("Where", (is_real_B1, state, old[field]), f"{layer.name}.{field}.new")
        _write_once(body, state)
    if is_real_B1:
        # A Where, not a product: padding may hold a NaN.
        h_BH = body.add("Where", (is_real_B1, h_BH, body.number(0.0)), f"{layer.name}.output")
    _write_once(body, h_BH)


def _write_once(body: OnnxGraph, tensor: str) -> None:
    """Makes a tensor an output of a body; a copy if it is one already, as h is c in JANET.

    ONNX' checker accepts a tensor that is two outputs, but ONNX Runtime then gives wrong numbers.
    """
    if any(tensor == output.name for output in body.outputs):
        tensor = body.add("Identity", (tensor,), f"{tensor}.copy")
    body.write(tensor, "float32", None)
