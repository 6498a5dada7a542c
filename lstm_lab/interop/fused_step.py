"""The equations of a cell with one product for all gates, as other frameworks compute them.

In: a variant and its rates. Out: `FusedStep`: the lines of one time step, and which weights of the
equations stand side by side in each of its matrices: W and U hold those of all gates, and the sum
x W + h' U + b is split into gates. Read products.py for what is computed at once, and
python_step.py next, which writes the lines as Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import numpy as np

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import gate_names
from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Maximum,
    Old,
    Value,
    Weight,
)
from lstm_lab.interop.portable import FloatArray, PortableLayer
from lstm_lab.interop.products import (
    GateTerm,
    Group,
    addends_of,
    find_groups,
    gate_of,
    term_of,
)
from lstm_lab.interop.trained_equations import equation_weights, parts, trained_equations


@dataclass(frozen=True)
class Assignment:
    """A line of a step: an expression, and what it gives a value to.

    Attributes:
      names: one vector; or one for each gate, into which the expression is split.
      expression: with the weights of `FusedStep.weights`.

    Example:
      Assignment(("z_f", "z_n"), Value("x") @ Weight("W") + Weight("b"))
    """

    names: tuple[str, ...]
    expression: Expression


@dataclass(frozen=True)
class FusedStep:
    """One time step of a trained cell.

    Attributes:
      lines: in the order of their computation.
      weights: the names of the weights -> the weights of the equations that stand side by side in
        them, on the last axis.

    Example:
      fused_step(MGUSpec(), {}).weights["W"]  # ("W_f", "W_n")
    """

    lines: tuple[Assignment, ...]
    weights: Mapping[str, tuple[str, ...]]


def fused_step(spec: Spec, rates: Mapping[str, float]) -> FusedStep:
    """Returns one time step of a trained cell with one product for all gates.

    Args:
      spec: the variant.
      rates: the rates of its regularization, by name.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      fused_step(get_variant("peephole").spec, {}).lines[0].names  # ("z_i", "z_f", "z_o", "z_g")
    """
    fusion = _Fusion(trained_equations(spec, rates), gate_names(spec))
    return FusedStep(fusion.lines, fusion.weights)


def step_weights(layer: PortableLayer) -> dict[str, FloatArray]:
    """Returns the weights of a layer by their names in `fused_step`.

    Args:
      layer: the layer.

    Example:
      step_weights(layer)["W"].shape  # (D, 4 * H)
    """
    weights = equation_weights(layer)
    return {
        name: np.concatenate([weights[part] for part in joined], axis=-1)
        for name, joined in fused_step(layer.spec, layer.rates).weights.items()
    }


@dataclass(frozen=True)
class _Fusion:
    """Equations on their way to a `FusedStep`.

    Attributes:
      equations: the equations of a trained cell.
      order: all gates, in the order of the weights.
    """

    equations: tuple[Equation, ...]
    order: tuple[str, ...]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The addends that are computed at once."""
        return find_groups(self.equations, self.order)

    @cached_property
    def lines(self) -> tuple[Assignment, ...]:
        """Each equation, after the products of all gates that it reads."""
        lines: dict[Assignment, None] = {}  # a group has one line, although each gate reads it
        for equation in self.equations:
            for addend in parts(equation.expression):
                group = self._group_of(addend)
                if group is not None and len(group.gates) > 1:
                    names = tuple(f"{group.prefix}_{gate}" for gate in group.gates)
                    lines[Assignment(names, reduce(add, self._terms(group)))] = None
            lines[Assignment((equation.result.name,), self._fused(equation.expression))] = None
        return tuple(lines)

    @cached_property
    def weights(self) -> dict[str, tuple[str, ...]]:
        """The weights that the lines read, in the order of their use."""
        joined = {
            self._name(term, group): self._joined(term, group)
            for group in self.groups
            for term in group.terms
            if term.letter
        }
        used = _weight_names(line.expression for line in self.lines)
        return {name: joined.get(name, (name,)) for name in used}

    @cached_property
    def _written(self) -> list[str]:
        return _weight_names(equation.expression for equation in self.equations)

    def _group_of(self, addend: Expression) -> Group | None:
        term = term_of(addend)
        groups = (group for group in self.groups if term in group.terms)
        return next((group for group in groups if gate_of(addend) in group.gates), None)

    def _terms(self, group: Group) -> list[Expression]:
        """Returns the terms of a group, for all its gates."""
        terms: list[Expression] = []
        for term in group.terms:
            weight = Weight(self._name(term, group))
            if isinstance(term.left, str):
                terms.append(Value(term.left))
            else:
                terms.append(weight if term.left is None else self._fused(term.left) @ weight)
        return terms

    def _name(self, term: GateTerm, group: Group) -> str:
        """Returns the name of the weights of a term: `W`, or `U_f` if other gates have another."""
        same = [s for g in self.groups for s in g.terms if s.letter == term.letter]
        if len(same) == 1:
            return term.letter
        # R has a matrix for each gate of the step before.
        index = term.left.name if isinstance(term.left, Old) and term.letter == "R" else ""
        return f"{term.letter}_{index or ''.join(group.gates)}"

    def _joined(self, term: GateTerm, group: Group) -> tuple[str, ...]:
        """Returns the names of a term's weights: W_i, W_f; R_ii, R_if; P without a gate."""
        match term:
            case GateTerm("R", Old(old)):
                return tuple(f"R_{old}{gate}" for gate in group.gates)
            case GateTerm(letter) if letter in self._written:
                return (letter,)
            case GateTerm(letter):
                # Without gates, the matrices of all gates stand in one norm.
                gates = self.order if group.gates == ("",) else group.gates
                return tuple(f"{letter}_{gate}" for gate in gates)

    def _fused(self, expression: Expression) -> Expression:
        """Returns an expression that reads the results of the groups."""
        addends: list[Expression] = []
        seen: set[Group] = set()
        for addend in addends_of(expression):
            group = self._group_of(addend)
            if group is None:
                addends.append(self._inside(addend))
            elif group not in seen:  # all terms of a group are one addend
                seen.add(group)
                is_split = len(group.gates) > 1
                part = Value(f"{group.prefix}_{gate_of(addend)}")
                addends += [part] if is_split else self._terms(group)
        return reduce(add, addends)

    def _inside(self, addend: Expression) -> Expression:
        match addend:
            case Binary(operator, left, right):
                return Binary(operator, self._fused(left), self._fused(right))
            case Call(function, argument):
                return Call(function, self._fused(argument))
            case Maximum(left, right, stored):
                return Maximum(self._fused(left), self._fused(right), stored)
            case _:
                return addend


def _weight_names(expressions: Iterable[Expression]) -> list[str]:
    """Returns the names of the weights that expressions read, in their order."""
    return [
        part.name
        for expression in expressions
        for part in parts(expression)
        if isinstance(part, Weight)
    ]
