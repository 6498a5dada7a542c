"""Expressions of equations: one source for plain text, LaTeX and numbers.

An expression is built with Python's operators: `Old("c") * Value("f")`, and `@` for a product with
a matrix. `to_text` and `to_latex` write it down, `evaluate` computes it with NumPy. Vectors are
rows, so that x W is `x @ W`. Read next: cells/equations.py, which builds the equations of a
variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Operator = Literal["+", "-", "*", "/", "@"]
Function = Literal["sigmoid", "tanh", "relu", "exp", "log", "normalize"]


class Operators:
    """Python's operators for expressions."""

    def __add__(self, other: Expression) -> Binary:
        return Binary("+", self._self(), other)

    def __sub__(self, other: Expression) -> Binary:
        return Binary("-", self._self(), other)

    def __mul__(self, other: Expression) -> Binary:
        return Binary("*", self._self(), other)

    def __truediv__(self, other: Expression) -> Binary:
        return Binary("/", self._self(), other)

    def __matmul__(self, other: Expression) -> Binary:
        return Binary("@", self._self(), other)

    def _self(self) -> Expression:
        return cast("Expression", self)


@dataclass(frozen=True)
class Value(Operators):
    """A vector of this time step, such as a gate; `~` after its name is a tilde over it."""

    name: str


@dataclass(frozen=True)
class Old(Operators):
    """A vector of the step before: c' in text, c with the index t-1 in LaTeX."""

    name: str


@dataclass(frozen=True)
class Weight(Operators):
    """A parameter or a mask: a letter, and the gate that it belongs to, if it belongs to one."""

    letter: str
    gate: str = ""

    @property
    def name(self) -> str:
        """The name in plain text, such as W_i."""
        return f"{self.letter}_{self.gate}" if self.gate else self.letter


@dataclass(frozen=True)
class Number(Operators):
    """A constant."""

    value: float


@dataclass(frozen=True)
class Part(Operators):
    """One of several parts, of equal length, of a vector over all gates."""

    name: str
    gate: str
    gates: str


@dataclass(frozen=True)
class Join(Operators):
    """Vectors one after another, as one vector over all gates."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Binary(Operators):
    """Two expressions and the operator between them; `@` is the product with a matrix."""

    operator: Operator
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call(Operators):
    """A function of one argument, element by element; `normalize` is over the last axis."""

    function: Function
    argument: Expression


@dataclass(frozen=True)
class Maximum(Operators):
    """The larger one of two values; the second one while nothing is stored (n' = 0), if given."""

    left: Expression
    right: Expression
    stored: Old | None = None


Expression = Value | Old | Weight | Number | Part | Join | Binary | Call | Maximum


@dataclass(frozen=True)
class Equation:
    """A vector and the expression that computes it."""

    result: Value
    expression: Expression

    @property
    def text(self) -> str:
        """The equation for a terminal: `c = f * c' + i * g`."""
        return f"{to_text(self.result)} = {to_text(self.expression)}"

    @property
    def latex(self) -> str:
        """The equation in LaTeX, with the index t for the time step."""
        return f"{to_latex(self.result)} = {to_latex(self.expression)}"


def evaluate_all(equations: Sequence[Equation], values: Mapping[str, Array]) -> dict[str, Array]:
    """Computes the equations in their order.

    Args:
      equations: the equations of one time step.
      values: inputs, the old state (h', c'), parameters and masks, by the names of the text.

    Returns:
      `values` with all results.
    """
    results = dict(values)
    for equation in equations:
        results[equation.result.name] = evaluate(equation.expression, results)
    return results


def evaluate(expression: Expression, values: Mapping[str, Array]) -> Array:
    """Computes an expression from the values of its names."""
    match expression:
        case Value(name):
            return values[name]
        case Old(name):
            return values[f"{name}'"]
        case Weight():
            return values[expression.name]
        case Number(value):
            return np.asarray(value)
        case Part(name, gate, gates):
            return np.split(values[name], len(gates), axis=-1)[gates.index(gate)]
        case Join(parts):
            return np.concatenate([evaluate(part, values) for part in parts], -1)
        case Call(function, argument):
            return _call(function, evaluate(argument, values))
        case Maximum(left, right, stored):
            second = evaluate(right, values)
            larger = np.maximum(evaluate(left, values), second)
            if stored is None:
                return larger
            return np.where(evaluate(stored, values) == 0.0, second, larger)
        case Binary(operator, left, right):
            return _binary(operator, evaluate(left, values), evaluate(right, values))


def _call(function: Function, z: Array) -> Array:
    match function:
        case "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-z)))
        case "tanh":
            return np.tanh(z)
        case "relu":
            return np.maximum(z, 0.0)
        case "exp":
            return np.exp(z)
        case "log":
            return np.log(z)
        case "normalize":
            centered = z - z.mean(-1, keepdims=True)
            variance = np.square(centered).mean(-1, keepdims=True)
            return np.asarray(centered / np.sqrt(variance + 1e-5))


def _binary(operator: Operator, left: Array, right: Array) -> Array:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case "@":
            return left @ right


def to_text(expression: Expression) -> str:
    """Writes an expression in one line of plain text."""
    match expression:
        case Value(name):
            return name
        case Old(name):
            return f"{name}'"
        case Weight():
            return expression.name
        case Number(value):
            return f"{value:g}"
        case Part(name, gate, _):
            return f"{name}_{gate}"
        case Join(joined):
            return f"[{', '.join(map(to_text, joined))}]"
        case Call(function, argument):
            return f"{function}({to_text(argument)})"
        case Maximum(left, right, stored):
            second = to_text(right)
            if stored is None:
                return f"max({to_text(left)}, {second})"
            return f"max({to_text(left)}, {second}), or {second} while {to_text(stored)} = 0"
        case Binary(operator, left, right):
            sign = " " if operator == "@" else f" {operator} "
            parts = [to_text(left), to_text(right)]
            grouped = [
                f"({part})" if needed else part
                for part, needed in zip(parts, _parentheses(expression), strict=True)
            ]
            return sign.join(grouped)


def _parentheses(expression: Binary) -> tuple[bool, bool]:
    """Returns whether the operands of an operator need parentheses."""
    operands = (expression.left, expression.right)
    inner = [operand.operator if isinstance(operand, Binary) else "" for operand in operands]
    match expression.operator:
        case "+":
            return False, False
        case "-":
            return False, inner[1] in ("+", "-")
        case "@":
            return inner[0] != "", inner[1] != ""
        case _:
            # A product with a matrix gets parentheses too: x W * y would be ambiguous to the eye.
            return inner[0] in ("+", "-", "@"), inner[1] != ""


# Names of vectors and weights that are no single letters.
_LATEX = {"gain": r"\gamma", "bias": r"\beta"}


def to_latex(expression: Expression) -> str:
    """Writes an expression in LaTeX."""
    match expression:
        case Value(name):
            return _vector(name, "t")
        case Old(name):
            return _vector(name, "t-1")
        case Weight(letter, gate):
            symbol = _LATEX.get(letter, letter)
            return f"{symbol}_{{{gate}}}" if gate else symbol
        case Number(value):
            return f"{value:g}"
        case Part(name, gate, _):
            return f"{name}_{{{gate},t}}"
        case Join(joined):
            return rf"\left[{', '.join(map(to_latex, joined))}\right]"
        case Call("exp", argument):
            return f"e^{{{to_latex(argument)}}}"
        case Call(function, argument):
            commands = {"sigmoid": r"\sigma", "tanh": r"\tanh", "log": r"\log"}
            operator = commands.get(function, rf"\mathrm{{{function}}}")
            return rf"{operator}\left({to_latex(argument)}\right)"
        case Maximum(left, right, stored):
            second = to_latex(right)
            if stored is None:
                return rf"\max\left({to_latex(left)}, {second}\right)"
            return (
                rf"\begin{{cases}} {second} & \text{{if }} {to_latex(stored)} = 0 \\ "
                rf"\max\left({to_latex(left)}, {second}\right) & \text{{else}} \end{{cases}}"
            )
        case Binary("/", left, right):
            return rf"\frac{{{to_latex(left)}}}{{{to_latex(right)}}}"
        case Binary(operator, left, right):
            sign = {"*": r" \odot ", "@": r"\, "}.get(operator, f" {operator} ")
            parts = [to_latex(left), to_latex(right)]
            return sign.join(
                rf"\left({part}\right)" if needed else part
                for part, needed in zip(parts, _parentheses(expression), strict=True)
            )


def _vector(name: str, time: str) -> str:
    """Writes the name of a vector with its time: c~ is a c with a tilde, z_f has two indices."""
    letter, _, index = name.removesuffix("~").partition("_")
    symbol = rf"\tilde{{{letter}}}" if name.endswith("~") else letter
    return f"{symbol}_{{{index},{time}}}" if index else f"{symbol}_{{{time}}}"
