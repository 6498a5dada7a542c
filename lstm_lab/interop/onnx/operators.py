"""Layers as ONNX' own operators LSTM, GRU and RNN.

In: a layer of a portable model. Out: a node with its weights in ONNX' layout. The operators have
the equations of our cells: peepholes, coupled gates f = 1 - i (`input_forget`), any activation of
the candidate and the output, both kinds of reset. They lack all else, which scan.py writes as a
Scan. ONNX orders the gates i, o, f, c (c is our g) and z, r, h (h is our n).

Source: the operators LSTM-14, GRU-14 and RNN-14 of the ONNX specification.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lstm_lab.cells.baselines import GRUSpec, RNNSpec
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import named_parameters
from lstm_lab.cells.gated import Activation
from lstm_lab.cells.spec import CellSpec
from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.interop.portable import FloatArray, PortableLayer

# An operator's gates in its order, each by our name.
_LSTM_GATES, _PEEPHOLES, _GRU_GATES = "iofg", "iof", "zrn"

# Affine is 1 x + 0 with the numbers of `_activations`.
_ACTIVATIONS: dict[Activation, str] = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "identity": "Affine",
}


class Operator(NamedTuple):
    """A layer as one operator.

    Attributes:
      name: LSTM, GRU or RNN.
      attributes: the constants that make it our variant.
      weights: arrays for its inputs W, R, B and, if there are peepholes, P.

    Example:
      layer_operator(layer).weights["W"].shape  # (1, 4 * H, D)
    """

    name: str
    attributes: dict[str, Any]
    weights: dict[str, FloatArray]


def has_operator(spec: Spec) -> bool:
    """Returns whether an operator of ONNX has the equations of a variant in evaluation.

    Args:
      spec: a variant with one of the package's own cells.

    Example:
      has_operator(get_variant("peephole").spec)  # True
    """
    if not isinstance(spec, CellSpec):
        return isinstance(spec, (GRUSpec, RNNSpec))
    # A gate that is the constant 1 does not exist in ONNX, nor the coupling i = 1 - f.
    has_gates = spec.gates == ("io" if spec.coupled else "ifo") and not spec.coupled_offset
    extras = (spec.gate_recurrence, spec.layer_norm, spec.projection, spec.multiplicative)
    return has_gates and not any(extras) and not spec.zoneout


def layer_operator(layer: PortableLayer) -> Operator:
    """Returns a layer as an operator.

    Args:
      layer: a layer whose variant has an operator.

    Example:
      layer_operator(layer).name  # "LSTM"
    """
    named = named_parameters(layer.spec, layer.params)
    match layer.spec:
        case CellSpec() as spec:
            weights = _stacked(named, [f"_{gate}" for gate in _LSTM_GATES])
            if spec.peephole:
                zeros = np.zeros(layer.units, np.float32)
                rows = [named.get(f"p_{gate}", zeros) for gate in _PEEPHOLES]
                weights["P"] = np.concatenate(rows)[None]
            attributes = {
                "input_forget": int(spec.coupled),
                **_activations("sigmoid", spec.candidate, spec.output),
            }
            return Operator("LSTM", attributes, weights)
        case GRUSpec() as spec:
            weights = _stacked(named, [f"_{gate}" for gate in _GRU_GATES])
            if spec.reset == "after":
                weights["B"][0, -layer.units :] = named["b_hn"]
            return Operator("GRU", {"linear_before_reset": int(spec.reset == "after")}, weights)
        case _:
            return Operator("RNN", {}, _stacked(named, [""]))


def _stacked(named: dict[str, FloatArray], gates: list[str]) -> dict[str, FloatArray]:
    """Returns W [1,GH,D], R [1,GH,H] and B [1,2GH]; the second half of B belongs to R."""
    zeros = {letter: np.zeros_like(named[f"{letter}{gates[0]}"]) for letter in "WUb"}

    def rows(letter: str) -> FloatArray:
        # The forget gate of coupled gates has no weights; ONNX wants zeros there.
        arrays = [named.get(f"{letter}{gate}", zeros[letter]) for gate in gates]
        return np.ascontiguousarray(np.concatenate([array.T for array in arrays])[None], np.float32)

    bias = rows("b")
    return {"W": rows("W"), "R": rows("U"), "B": np.concatenate([bias, np.zeros_like(bias)], 1)}


def _activations(*names: Activation) -> dict[str, Any]:
    """Returns the attributes for the activations of the gates, the candidate and the output."""
    affine = names.count("identity")
    numbers = {"activation_alpha": [1.0] * affine, "activation_beta": [0.0] * affine}
    return {"activations": [_ACTIVATIONS[name] for name in names]} | (numbers if affine else {})


def write_operator(
    graph: OnnxGraph, layer: PortableLayer, x_TBD: str, lengths_B: str, initial: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Adds a layer as one operator.

    Args:
      graph: the graph.
      layer: a layer whose variant has an operator.
      x_TBD: its inputs.
      lengths_B: real steps of each row, or "" if all are real.
      initial: its initial state [B,size], by field.

    Returns:
      Outputs [T,B,H], and the final state by field; of a row without steps it is zero.

    Example:
      h_TBH, final = write_operator(graph, layer, x_TBD, "lengths", {"h": "layer_0.h"})
    """
    operator, name = layer_operator(layer), layer.name
    weights = {
        letter: graph.constant(f"{name}.{letter}", array)
        for letter, array in operator.weights.items()
    }
    one_direction = {
        field: graph.add("Unsqueeze", (state, graph.axes(0)), f"{name}.{field}.initial")
        for field, state in initial.items()
    }
    states = (one_direction["h"], one_direction.get("c", ""), weights.get("P", ""))
    inputs = [x_TBD, weights["W"], weights["R"], weights["B"], lengths_B, *states]
    while not inputs[-1]:  # an optional input at the end is left out
        inputs.pop()
    h_T1BH, *finals_1BH = graph.add_many(
        operator.name,
        inputs,
        (f"{name}.all_steps", *(f"{name}.{field}.last" for field in initial)),
        hidden_size=layer.units,
        direction="reverse" if layer.reverse else "forward",
        **operator.attributes,
    )
    final = {
        field: graph.add("Squeeze", (state, graph.axes(0)), f"{name}.{field}.squeezed")
        for field, state in zip(initial, finals_1BH, strict=True)
    }
    return graph.add("Squeeze", (h_T1BH, graph.axes(1)), f"{name}.outputs"), final
