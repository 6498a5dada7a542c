"""Which variants are layers of PyTorch, and in which order PyTorch stores their gates.

In: a variant. Out: `LSTM`, `GRU`, `RNN`, or None if PyTorch lacks the cell. framework_cells.py
compares the trained equations: `variational`, `semeniuta` and `weightdrop` differ from the plain
LSTM only while they train, and `np` and `chrono` only in their first weights. Read weights.py next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lstm_lab.cells.cell import Spec
from lstm_lab.interop.framework_cells import PlainCell, plain_cell

TorchLayer = Literal["LSTM", "GRU", "RNN"]

# Our order of the gates and that of PyTorch; h is the only row of the simple RNN.
GATE_ORDERS: dict[TorchLayer, tuple[str, str]] = {
    "LSTM": ("ifog", "ifgo"),
    "GRU": ("rzn", "rzn"),
    "RNN": ("h", "h"),
}

# PyTorch has no GRU with the reset before the product.
TORCH_LAYERS: dict[PlainCell, TorchLayer] = {
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
    cell = plain_cell(spec, rates)
    return None if cell is None else TORCH_LAYERS.get(cell)
