"""The cells that other frameworks have themselves: LSTM, GRU and the simple RNN.

In: the spec of a variant. Out: which of these cells it is, or None. Trained equations are compared,
so variants that differ only in training or in their initial weights (variational, weightdrop,
chrono, ...) are plain LSTMs here. Read keras_models.py or pytorch/layers.py next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np

from lstm_lab.cells.baselines import GRUSpec, RNNSpec
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.masks import default_rates
from lstm_lab.cells.spec import CellSpec
from lstm_lab.interop.portable import FloatArray, variant_name
from lstm_lab.interop.trained_equations import UnknownEquationsError, trained_equations
from lstm_lab.utils.errors import UserError

FrameworkCell = Literal["lstm", "gru", "gru_reset_before", "rnn"]
# PyTorch alone has a projection.
PlainCell = FrameworkCell | Literal["projected_lstm"]
Cell = TypeVar("Cell", bound=str)

_EXPECTED = "expected model.cell=lstm, gru or rnn, or a variant with their equations in evaluation"

_SPECS: dict[PlainCell, Spec] = {
    "lstm": CellSpec(),
    "projected_lstm": CellSpec(projection=0.5),  # its equations are those of every width of h
    "gru": GRUSpec(),
    "gru_reset_before": GRUSpec(reset="before"),
    "rnn": RNNSpec(),
}


def plain_cell(spec: Spec, rates: Mapping[str, float]) -> PlainCell | None:
    """Returns the plain cell that computes what a trained variant computes, or None.

    Args:
      spec: the variant.
      rates: the rates of its regularization; those of zoneout are part of a trained model.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      plain_cell(get_variant("weightdrop").spec, {"weight_drop": 0.5})  # "lstm"
    """
    written = trained_equations(spec, rates)
    return next(
        (name for name, plain in _SPECS.items() if trained_equations(plain, {}) == written), None
    )


def framework_cell(spec: Spec) -> FrameworkCell | None:
    """Returns the cell of Keras, Flax or Equinox that a trained variant equals, or None.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      framework_cell(get_variant("variational").spec)  # "lstm"
      framework_cell(get_variant("peephole").spec)  # None
    """
    cell = plain_cell(spec, default_rates(spec))
    return None if cell == "projected_lstm" else cell


def importable_cell(spec: Spec, framework: str, cells: Mapping[Cell, object]) -> Cell:
    """Returns the cell of a framework whose weights a variant can begin with.

    The variant computes the same with these weights in evaluation. Options that act in training
    alone, as dropout does, make no difference. Zoneout does, because its expectation stays.

    Args:
      spec: the variant of the model that takes the weights.
      framework: name of the framework, for errors.
      cells: the cells that its reader can read.

    Raises:
      UserError: if the framework has no cell with the equations of the variant.

    Example:
      importable_cell(get_variant("gru").spec, "Keras", {"lstm": 4, "gru": 3})  # "gru"
    """
    try:
        plain = plain_cell(spec, default_rates(spec))
    except UnknownEquationsError:
        raise UserError(
            f"import: the equations of the cell {variant_name(spec)} are not known, because it has "
            f"functions of its own, {_EXPECTED}"
        ) from None
    found = next((cell for cell in cells if cell == plain), None)
    if found is not None:
        return found
    hint = ""
    if isinstance(spec, CellSpec) and spec.zoneout:
        hint = (
            "; zoneout changes the outputs in evaluation, too: import with "
            "--config.model.cell=lstm, then train with zoneout and --config.model.init_from"
        )
    raise UserError(
        f"import: {framework} has no cell with the equations of {variant_name(spec)}, "
        f"{_EXPECTED}{hint}"
    )


def reorder_gates(array: FloatArray, order: str, target: str) -> FloatArray:
    """Returns weights [...,G,H] with their gates in another order.

    Args:
      array: weights; the axis before the last has the gates.
      order: the present order of the gates, one letter each.
      target: the new order.

    Example:
      reorder_gates(params["wx"], "ifog", "ifgo").shape  # (D, 4, H), as before
    """
    return np.take(array, [order.index(gate) for gate in target], axis=-2)
