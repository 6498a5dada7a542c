"""From a model's settings to the cell that they name, and the rates of its regularization.

In: a `ModelSpec`. Out: the spec of a cell, from the catalogue or from a user's file, and rates by
name. Read `cells/catalogue.py` for the variants and `cells/masks.py` for the rates.
"""

from __future__ import annotations

from dataclasses import replace

from lstm_lab.cells import Spec, get_variant
from lstm_lab.cells.masks import RATES, default_rates
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.user_code import cell_path, load_cell
from lstm_lab.utils.errors import UserError


def resolve_cell(model: ModelSpec) -> Spec:
    """Returns the variant that a model names, with the model's forget bias and initializer.

    Args:
      model: the model; a `cell` of the form FILE.py:NAME runs that file.

    Raises:
      UserError: for an unknown variant, a file without it, or an option that it does not have.
    """
    path = cell_path(model)
    if path is None and model.cell.endswith(".py"):
        raise UserError(f"model.cell: got {model.cell!r}, expected {model.cell}:NAME")
    try:
        cell = get_variant(model.cell).spec if path is None else load_cell(path, model.cell)
        changes = {
            name: value
            for name in ("forget_bias", "init")
            if (value := getattr(model, name)) is not None
        }
        # An error, not silence: a setting without an effect would still change the run's id.
        for name in changes:
            if not hasattr(cell, name):
                raise UserError(f"model.{name}: {model.cell} has no such option")
        cell = replace(cell, **changes)  # type: ignore[type-var]
        for name in RATES:
            if getattr(model, name) is not None and name not in default_rates(cell):
                raise UserError(f"model.{name}: {model.cell} has no such regularization")
        return cell
    except ValueError as error:
        # The message starts with a field of the cell. Only these two are settings of the model too.
        prefix = "" if str(error).startswith(("forget_bias", "init")) else "cell: "
        raise UserError(f"model.{prefix}{error}") from None


def rates_of(model: ModelSpec) -> dict[str, float]:
    """Returns the rates of the cell's regularization, and the input noise if there is any.

    A rate that the model does not set is that of the variant's paper.

    Args:
      model: the model.

    Returns:
      Rates by name.
    """
    # Only the rates that the cell has: their names are part of the compiled program.
    rates = default_rates(resolve_cell(model))
    for name in rates:
        if getattr(model, name) is not None:
            rates[name] = getattr(model, name)
    return rates if model.input_noise is None else rates | {"input_noise": model.input_noise}
