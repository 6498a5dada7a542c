"""Splits the equations of a cell into those of all steps at once and those of one step.

In: the equations of a trained cell. Out: `SplitEquations`. What reads only the input, such as
x W + b, is computed for all steps before the loop over time, as `project` of our cells does. The
loop computes what reads the state. Read scan.py next, which writes both parts as nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

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
from lstm_lab.interop.products import addends_of
from lstm_lab.interop.trained_equations import parts


class SplitEquations(NamedTuple):
    """The equations of a cell in two parts.

    Attributes:
      all_steps: equations without the state; those that are named x_... are parts of others.
      one_step: the other equations.
      carried: vectors of `all_steps` that `one_step` reads.

    Example:
      [e.text for e in split_equations(trained_equations(RNNSpec(), {})).one_step]
      # ["h = tanh(x_h + h' U)"]
    """

    all_steps: tuple[Equation, ...]
    one_step: tuple[Equation, ...]
    carried: tuple[str, ...]


def split_equations(equations: Sequence[Equation]) -> SplitEquations:
    """Splits the equations of a cell.

    Args:
      equations: the equations in the order of their computation.

    Example:
      split_equations(trained_equations(get_variant("lstmp").spec, {})).carried
    """
    splitter = _Splitter()
    for equation in equations:
        splitter.take(equation)
    read = {
        part.name
        for equation in splitter.one_step
        for part in parts(equation.expression)
        if isinstance(part, (Value, Part))
    }
    results = [equation.result.name for equation in splitter.all_steps]
    return SplitEquations(
        tuple(splitter.all_steps),
        tuple(splitter.one_step),
        tuple(name for name in results if name in read),
    )


class _Splitter:
    def __init__(self) -> None:
        self.all_steps: list[Equation] = []
        self.one_step: list[Equation] = []
        self._without_state = {"x"}

    def take(self, equation: Equation) -> None:
        """Puts an equation into one part, or the terms without the state into the other part."""
        expression = _input_terms_first(equation.expression, self._without_state)
        if self._is_free(expression):
            self._without_state.add(equation.result.name)
            self.all_steps.append(Equation(equation.result, expression))
        else:
            rewritten = self._rewrite(expression, equation.result.name)
            self.one_step.append(Equation(equation.result, rewritten))

    def _is_free(self, expression: Expression) -> bool:
        return not _reads_state(expression, self._without_state)

    def _rewrite(self, expression: Expression, result: str) -> Expression:
        """Returns the expression with names for its largest parts that read the input alone."""
        if isinstance(expression, (Old, Weight, Number)):
            return expression
        if self._is_free(expression) and not isinstance(expression, (Value, Part)):
            # Weights alone, such as 1 - k, are the same at every step and stay where they are.
            if not _has_vectors(expression):
                return expression
            return self._name(expression, f"x_{result}")
        match expression:
            case Binary(operator, left, right):
                return Binary(operator, self._rewrite(left, result), self._rewrite(right, result))
            case Call(function, argument):
                return Call(function, self._rewrite(argument, result))
            case Join(joined):
                return Join(tuple(self._rewrite(part, result) for part in joined))
            case Maximum(left, right, stored):
                return Maximum(self._rewrite(left, result), self._rewrite(right, result), stored)
            case _:
                return expression

    def _name(self, expression: Expression, name: str) -> Value:
        """Returns the name of an expression without the state, with an equation for it."""
        for equation in self.all_steps:
            if equation.expression == expression:
                return equation.result
        while name in self._without_state:
            name += "'"
        self._without_state.add(name)
        self.all_steps.append(Equation(Value(name), expression))
        return Value(name)


def _reads_state(expression: Expression, without_state: set[str]) -> bool:
    """Returns whether an expression reads the step before, or a vector that does."""
    return any(
        isinstance(part, Old)
        or (isinstance(part, (Value, Part)) and part.name not in without_state)
        for part in parts(expression)
    )


def _has_vectors(expression: Expression) -> bool:
    """Returns whether an expression, which reads no state, differs between the steps."""
    return any(isinstance(part, (Value, Part)) for part in parts(expression))


def _input_terms_first(expression: Expression, without_state: set[str]) -> Expression:
    """Writes x W + h' U + b as (x W + b) + h' U, so that x W + b is one part without the state."""
    match expression:
        case Binary("+", _, _):
            terms = [_input_terms_first(term, without_state) for term in addends_of(expression)]
            free = [term for term in terms if not _reads_state(term, without_state)]
            others = [term for term in terms if _reads_state(term, without_state)]
            if not any(map(_has_vectors, free)):
                return reduce(add, terms)
            return reduce(add, [reduce(add, free), *others])
        case Binary(operator, left, right):
            inner = (_input_terms_first(part, without_state) for part in (left, right))
            return Binary(operator, *inner)
        case Call(function, argument):
            return Call(function, _input_terms_first(argument, without_state))
        case _:
            return expression
