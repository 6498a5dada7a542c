"""The equations of a cell as the source of a Python function, for Keras, Flax and Equinox.

In: a layer of a portable model, and how a framework calls its functions. Out: the text of

    def step(w, x, state): ...

with the weights `w` by their names in the equations, the input `x` [B,D], and the vectors of the
state as a tuple. `standalone/` has the cells that call it. Read trained_equations.py for the
equations themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from lstm_lab.interop.portable import PortableLayer, variant_name
from lstm_lab.interop.trained_equations import (
    is_log_sigmoid,
    parts,
    state_vectors,
    trained_equations,
)

# The functions that a step calls, by their names in each framework. `normalize` is a function of
# the file that the step is written to.
_ELEMENTWISE = ("tanh", "exp", "log", "maximum", "where", "concatenate", "split")
_NN = ("sigmoid", "relu", "log_sigmoid")
KERAS = {name: f"ops.{name}" for name in (*_ELEMENTWISE, *_NN)} | {"normalize": "normalize"}
JAX = (
    {name: f"jnp.{name}" for name in _ELEMENTWISE}
    | {name: f"jax.nn.{name}" for name in _NN}
    | {"normalize": "normalize"}
)

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2}
_WIDTH = 100
_INDENT = "    "


def step_source(layer: PortableLayer, functions: Mapping[str, str]) -> str:
    """Returns the source of the function that computes one time step of a trained layer.

    Args:
      layer: the layer; every layer of a model has the same step.
      functions: names of functions in the framework: `KERAS` or `JAX`.

    Returns:
      The text of `step(w, x, state)`, which returns the new state; its first vector is h.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      print(step_source(portable_model(run.trained).layers[0][0], JAX))
    """
    written = trained_equations(layer.spec, layer.rates)
    lines = [
        f'"""Computes one time step of the cell {variant_name(layer.spec)}."""',
        *_unpacked_state(layer, functions),
    ]
    for equation in written:
        lines += assignment(equation, functions)
        lines += _split_parts(equation.result.name, written, functions)
    lines.append(f"return {_new_state(layer, functions)}")
    return "def step(w, x, state):\n" + "".join(f"{_INDENT}{line}\n" for line in lines)


def _unpacked_state(layer: PortableLayer, functions: Mapping[str, str]) -> list[str]:
    fields = [f"old_{field}" for field in layer.state_sizes]
    lines = [f"{', '.join(fields) if len(fields) > 1 else f'({fields[0]},)'} = state"]
    if "gates" in layer.state_sizes:
        lines.append(f"old_i, old_f, old_o = {functions['split']}(old_gates, 3, axis=-1)")
    return lines


def _new_state(layer: PortableLayer, functions: Mapping[str, str]) -> str:
    vectors = state_vectors(layer)
    fields = []
    for field in layer.state_sizes:
        names = [_identifier(name) for name, (place, _) in vectors.items() if place == field]
        joined = f"{functions['concatenate']}([{', '.join(names)}], axis=-1)"
        fields.append(names[0] if len(names) == 1 else joined)
    return f"({', '.join(fields)}{',' if len(fields) == 1 else ''})"


def assignment(equation: Equation, functions: Mapping[str, str]) -> list[str]:
    """Returns the lines of one equation; a long one has one line for each term of its sum.

    Args:
      equation: the equation.
      functions: as in `step_source`.

    Example:
      assignment(Equation(Value("h"), Value("o") * Value("c")), JAX)  # ["h = o * c"]
    """
    name, expression = _identifier(equation.result.name), equation.expression
    line = f"{name} = {_code(expression, functions)}"
    if len(line) + len(_INDENT) <= _WIDTH:
        return [line]
    function, inner = "", expression
    if isinstance(expression, Call) and not is_log_sigmoid(expression):
        function, inner = functions[expression.function], expression.argument
    first, *others = [_operand(term, "+", False, functions) for term in _terms(inner)]
    terms = [f"{_INDENT}{first}", *(f"{_INDENT}+ {term}" for term in others)]
    return [f"{name} = {function}(", *terms, ")"]


def _terms(expression: Expression) -> list[Expression]:
    """Returns the terms of a sum, in the order of their addition."""
    if isinstance(expression, Binary) and expression.operator == "+":
        return [*_terms(expression.left), expression.right]
    return [expression]


def _split_parts(
    name: str, written: tuple[Equation, ...], functions: Mapping[str, str]
) -> list[str]:
    """Returns the line that splits a vector over all gates, if the equations read its parts."""
    gates = {
        part.gates
        for equation in written
        for part in parts(equation.expression)
        if isinstance(part, Part) and part.name == name
    }
    return [
        f"{', '.join(f'{name}_{gate}' for gate in letters)} = "
        f"{functions['split']}({name}, {len(letters)}, axis=-1)"
        for letters in gates
    ]


def _identifier(name: str) -> str:
    """Returns the name of a vector in Python; a tilde over it becomes a word."""
    return name.replace("~", "_tilde")


def _code(expression: Expression, functions: Mapping[str, str]) -> str:
    """Returns an expression as Python."""
    match expression:
        case Value(name):
            return _identifier(name)
        case Old(name):
            return f"old_{name}"
        case Weight():
            return f'w["{expression.name}"]'
        case Number(value):
            return repr(float(value))
        case Part(name, gate, _):
            return f"{name}_{gate}"
        case Join(joined):
            inner = ", ".join(_code(part, functions) for part in joined)
            return f"{functions['concatenate']}([{inner}], axis=-1)"
        case Call("log", Call("sigmoid", argument)):
            # Not as it is written: log(sigmoid(z)) is -inf in float32 from z < -104 on.
            return f"{functions['log_sigmoid']}({_code(argument, functions)})"
        case Call(function, argument):
            return f"{functions[function]}({_code(argument, functions)})"
        case Maximum(left, right, stored):
            second = _code(right, functions)
            larger = f"{functions['maximum']}({_code(left, functions)}, {second})"
            if stored is None:
                return larger
            is_empty = f"{_code(stored, functions)} == 0.0"
            return f"{functions['where']}({is_empty}, {second}, {larger})"
        case Binary(operator, left, right):
            first = _operand(left, operator, False, functions)
            return f"{first} {operator} {_operand(right, operator, True, functions)}"


def _operand(
    expression: Expression, operator: str, is_right: bool, functions: Mapping[str, str]
) -> str:
    """Returns an operand, in parentheses where Python or a reader needs them."""
    text = _code(expression, functions)
    if not isinstance(expression, Binary):
        return text
    inner, outer = _LEVELS[expression.operator], _LEVELS[operator]
    mixed = inner == outer == 2 and expression.operator != operator
    return f"({text})" if inner < outer or mixed or (is_right and inner == outer) else text
