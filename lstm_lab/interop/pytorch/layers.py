"""Which variants are layers of PyTorch, and in which order PyTorch stores their gates.

In: a variant. Out: `LSTM`, `GRU`, `RNN`, or None if PyTorch lacks the cell. framework_cells.py
compares the trained equations: `variational`, `semeniuta` and `weightdrop` differ from the plain
LSTM only while they train, and `np` and `chrono` only in their first weights. Read weights.py next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.spec import CellSpec
from lstm_lab.interop.framework_cells import PlainCell, plain_cell

TorchLayer = Literal["LSTM", "GRU", "RNN"]

# Our order of the gates and that of PyTorch; h is the only row of the simple RNN.
GATE_ORDERS: dict[TorchLayer, tuple[str, str]] = {
    "LSTM": ("ifog", "ifgo"),
    "GRU": ("rzn", "rzn"),
    "RNN": ("h", "h"),
}

# PyTorch has no GRU with the reset before the product.
_LAYERS: dict[PlainCell | None, TorchLayer] = {
    "lstm": "LSTM",
    "projected_lstm": "LSTM",
    "gru": "GRU",
    "rnn": "RNN",
}


def torch_layer(spec: Spec, rates: Mapping[str, float]) -> TorchLayer | None:
    """Returns the layer of PyTorch that computes what a trained variant computes, or None.

    Args:
      spec: the variant.
      rates: the rates of its regularization; those of zoneout are part of a trained model.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      torch_layer(get_variant("weightdrop").spec, {"weight_drop": 0.5})  # "LSTM"
    """
    return _LAYERS.get(plain_cell(spec, rates))


def layer_for_weights(spec: Spec) -> TorchLayer | None:
    """Returns the layer of PyTorch that has the same weights as a variant, or None.

    A variant with zoneout can start from the weights of a plain LSTM, although it computes
    something else with them.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      layer_for_weights(get_variant("zoneout").spec)  # "LSTM"
    """
    return torch_layer(replace(spec, zoneout=False) if isinstance(spec, CellSpec) else spec, {})
