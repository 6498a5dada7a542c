"""The weights of PyTorch's recurrent layers in both directions, as NumPy arrays.

In: the arrays of a layer of this package, or those of `nn.LSTM`, `nn.GRU` or `nn.RNN`. Out: the
other ones. PyTorch stores matrices transposed, all gates in one matrix, and two biases:

    lstm_lab                          PyTorch
    wx [D,G,H]                        weight_ih [GH,D]
    wh [R,G,H]                        weight_hh [GH,R]
    b [G,H]                           bias_ih + bias_hh [GH]
    bn [H] of a GRU                   the part of bias_hh [3H] for n, which r multiplies
    proj [H,R]                        weight_hr [R,H]

Read read.py next, which finds these tensors in a file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstm_lab.interop.portable import FloatArray
from lstm_lab.interop.pytorch.layers import GATE_ORDERS, TorchLayer


def to_torch(layer: TorchLayer, params: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Returns the tensors of one layer in one direction, without the suffix `_l0`.

    Our bias becomes `bias_ih`, and `bias_hh` is zero but for the inner bias of a GRU.

    Args:
      layer: the layer of PyTorch.
      params: the arrays of our layer, as `spec.cell.init` draws them.

    Returns:
      `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, and `weight_hr` of a projection.

    Example:
      to_torch("LSTM", params)["weight_ih"].shape  # (4 * H, D)
    """
    ours, theirs = GATE_ORDERS[layer]
    order = [ours.index(gate) for gate in theirs]
    bias_GH = params["b"][order]
    inner_GH = np.zeros_like(bias_GH)
    if "bn" in params:
        inner_GH[theirs.index("n")] = params["bn"]
    tensors = {
        "weight_ih": params["wx"][:, order].reshape(len(params["wx"]), -1).T,
        "weight_hh": params["wh"][:, order].reshape(len(params["wh"]), -1).T,
        "bias_ih": bias_GH.reshape(-1),
        "bias_hh": inner_GH.reshape(-1),
    }
    if "proj" in params:
        tensors["weight_hr"] = params["proj"].T
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def from_torch(layer: TorchLayer, tensors: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Returns our arrays of one layer in one direction: the inverse of `to_torch`.

    Args:
      layer: the layer of PyTorch.
      tensors: its tensors, without the suffix `_l0`; without biases, ours are zero.

    Returns:
      `wx`, `wh`, `b`, and by layer `bn` or `proj`.

    Example:
      from_torch("GRU", tensors)["bn"].shape  # (H,)
    """
    ours, theirs = GATE_ORDERS[layer]
    order, G = [theirs.index(gate) for gate in ours], len(ours)
    zeros = np.zeros(len(tensors["weight_ih"]), tensors["weight_ih"].dtype)
    bias_ih_GH = tensors.get("bias_ih", zeros).reshape(G, -1)[order]
    bias_hh_GH = tensors.get("bias_hh", zeros).reshape(G, -1)[order].copy()
    params = {
        name: np.ascontiguousarray(
            tensors[weight].T.reshape(tensors[weight].shape[1], G, -1)[:, order]
        )
        for name, weight in (("wx", "weight_ih"), ("wh", "weight_hh"))
    }
    if layer == "GRU":
        n = ours.index("n")
        params["bn"] = bias_hh_GH[n].copy()
        bias_hh_GH[n] = 0.0
    # Not always the sum: -0.0 + 0.0 is 0.0, and a round trip returns the same bits.
    params["b"] = np.where(bias_hh_GH == 0.0, bias_ih_GH, bias_ih_GH + bias_hh_GH)
    if "weight_hr" in tensors:
        params["proj"] = np.ascontiguousarray(tensors["weight_hr"].T)
    return params
