"""The equations of a cell as a trained model computes them: without masks, rates as numbers.

In: a layer of a portable model. Out: its equations in the order of their computation, the arrays
of their weights, and the names of the state. Targets that lack a cell write these equations in
their own language (pytorch/, onnx/), so that every variant of the catalogue can be exported.

Three functions need care in float32: log(sigmoid(x)), which is -inf for x < -104 if computed as it
is written; the quotients of minLSTM, which are 0 / 0 there; and the exponential forget gate of
sLSTM, which is infinite if its state is empty. Every target has a function for the first. The
others are written in a stable form. Read fused_step.py next: one product for all gates.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import equations, named_parameters
from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Join,
    Maximum,
    Number,
    Old,
    Part,
    Value,
    Weight,
)
from lstm_lab.cells.minlstm import MinLSTMSpec
from lstm_lab.cells.slstm import SLSTMSpec
from lstm_lab.interop.portable import FloatArray, PortableLayer, variant_name
from lstm_lab.utils.errors import UserError

# Letters of masks; a trained model has none of them.
_MASKS = ("d", "D")


class UnknownEquationsError(UserError):
    """A cell of a user has functions of its own, whose equations the package does not know.

    Args:
      cell: the name of the cell.

    Example:
      raise UnknownEquationsError("one_gate")
    """

    def __init__(self, cell: str) -> None:
        super().__init__(
            f"export: the cell {cell} has functions of its own, whose equations are not known, "
            "expected a cell of lstm_lab; --to=stablehlo exports every cell"
        )


def trained_equations(spec: Spec, rates: Mapping[str, float]) -> tuple[Equation, ...]:
    """Returns the equations of one time step in evaluation.

    Masks of dropout are 1 and vanish; zoneout is its expectation, so its masks are numbers.

    Args:
      spec: the variant.
      rates: the rates of its regularization, by name.

    Raises:
      UnknownEquationsError: for a cell of a user.

    Example:
      [e.text for e in trained_equations(CellSpec(gates="f", coupled=True), {})]
    """
    try:
        written = equations(spec)
    except ValueError:
        raise UnknownEquationsError(variant_name(spec)) from None
    plain = tuple(Equation(e.result, _evaluated(e.expression, rates)) for e in written)
    match spec:
        case MinLSTMSpec():
            return _stable_quotients(plain)
        case SLSTMSpec():
            return _bounded_forget_gate(plain)
        case _:
            return plain


def equation_weights(layer: PortableLayer) -> dict[str, FloatArray]:
    """Returns the weights of a layer by their names in its equations, contiguous, float32.

    Args:
      layer: the layer.

    Example:
      equation_weights(layer)["W_i"].shape  # (D, H)
    """
    named = named_parameters(layer.spec, layer.params)
    used = {
        part.name
        for equation in trained_equations(layer.spec, layer.rates)
        for part in parts(equation.expression)
        if isinstance(part, Weight)
    }
    return {
        name: np.ascontiguousarray(array, np.float32)
        for name, array in named.items()
        if name in used
    }


def state_vectors(layer: PortableLayer) -> dict[str, tuple[str, slice]]:
    """Returns where each vector of the previous state is stored: its field, and the units in it.

    Args:
      layer: the layer.

    Example:
      state_vectors(layer)  # {"h": ("h", slice(0, 16)), "c": ("c", slice(0, 16))}
    """
    places = {
        field: (field, slice(0, size))
        for field, size in layer.state_sizes.items()
        if field != "gates"
    }
    if "gates" in layer.state_sizes:
        H = layer.units
        places |= {name: ("gates", slice(k * H, (k + 1) * H)) for k, name in enumerate("ifo")}
    return places


def parts(expression: Expression) -> list[Expression]:
    """Returns an expression and all expressions in it.

    Example:
      [part for part in parts(equation.expression) if isinstance(part, Old)]
    """
    match expression:
        case Binary(_, left, right):
            inner = [left, right]
        case Call(_, argument):
            inner = [argument]
        case Join(joined):
            inner = list(joined)
        case Maximum(left, right, stored):
            inner = [left, right, *([] if stored is None else [stored])]
        case _:
            inner = []
    return [expression, *(found for part in inner for found in parts(part))]


def _evaluated(expression: Expression, rates: Mapping[str, float]) -> Expression:
    """Returns an expression without masks of dropout, and with numbers for those of zoneout."""
    match expression:
        case Weight("k", gate):
            return Number(rates[f"zoneout_{gate}"])
        case Binary("*", Weight(letter), right) if letter in _MASKS:
            return _evaluated(right, rates)
        case Binary(operator, left, right):
            left, right = _evaluated(left, rates), _evaluated(right, rates)
            if operator == "-" and isinstance(left, Number) and isinstance(right, Number):
                return Number(left.value - right.value)
            return Binary(operator, left, right)
        case Call(function, argument):
            return Call(function, _evaluated(argument, rates))
        case Join(joined):
            return Join(tuple(_evaluated(part, rates) for part in joined))
        case Maximum(left, right, stored):
            return Maximum(_evaluated(left, rates), _evaluated(right, rates), stored)
        case Value() | Old() | Weight() | Number() | Part():
            return expression


def _stable_quotients(written: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """Writes f / (f + i) of minLSTM as s(log f - log i), which is never 0 / 0."""
    z = {e.result.name: e.expression for e in written if e.result.name in ("i~", "f~")}
    arguments = {name: e.argument for name, e in z.items() if isinstance(e, Call)}
    logs = [Equation(Value(name), Call("log", Call("sigmoid", arguments[name]))) for name in z]
    quotients = [
        Equation(Value(one), Call("sigmoid", Value(f"{one}~") - Value(f"{other}~")))
        for one, other in (("i", "f"), ("f", "i"))
    ]
    others = [e for e in written if e.result.name not in ("i~", "f~", "i", "f", "h")]
    return (*logs, *others, *quotients, *(e for e in written if e.result.name == "h"))


def _bounded_forget_gate(written: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """Writes f = exp(e - m) of sLSTM as exp(-relu(m - e)), which is never above 1.

    m is at least e, so both are equal, except for an empty state: e has no meaning then, exp(e - m)
    may be infinite, and infinity times the empty state is NaN.
    """
    bounded = []
    for equation in written:
        match equation:
            case Equation(Value("f") as f, Call("exp", Binary("-", exponent, m))):
                negative = Number(0.0) - Call("relu", m - exponent)
                bounded.append(Equation(f, Call("exp", negative)))
            case _:
                bounded.append(equation)
    return tuple(bounded)
