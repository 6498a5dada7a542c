"""Which products of a cell's equations are computed at once.

In: the equations of a trained cell. Out: `Group`s of addends, such as x W_i, h' U_i and b_i: they
stand in the same sums for each gate, so one matrix of all gates computes them. Read fused_step.py
next, which writes a group as one expression that is split into gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Join,
    Maximum,
    Old,
    Part,
    Value,
    Weight,
)


@dataclass(frozen=True)
class GateTerm:
    """Addends that differ only in the gate: `left @ Weight(letter, gate)`, biases, or parts of u.

    Attributes:
      letter: the letter of the weights, with _m for those of the intermediate state; "" for parts.
      left: what is multiplied by the matrices, or the name of the vector of parts; None for biases.

    Example:
      GateTerm("U", Old("h"))  # h' U_i, h' U_f, h' U_o, h' U_g
    """

    letter: str
    left: Expression | str | None = None


@dataclass(frozen=True)
class Group:
    """Terms that stand in the same sums.

    Attributes:
      terms: in the order of the equations.
      gates: the gates that read them, in the order of the weights.

    Example:
      Group((GateTerm("W", Value("x")), GateTerm("b")), ("i", "f", "o", "g"))  # x W + b
    """

    terms: tuple[GateTerm, ...]
    gates: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """The letter of its parts: z of a pre-activation, x of a product with x alone."""
        products = [term for term in self.terms if term.letter != "b"]
        match products:
            case [GateTerm(left=Value(name) | Old(name))]:
                return name
            case _:
                return "r" if {term.letter for term in products} == {"R"} else "z"


def find_groups(equations: Sequence[Equation], order: Sequence[str]) -> tuple[Group, ...]:
    """Returns the groups of a cell, in the order of their first use.

    Args:
      equations: the equations of a trained cell.
      order: all gates, in the order of the weights.

    Example:
      find_groups(trained_equations(CellSpec(peephole="o"), {}), "ifog")  # one group of all gates
    """
    sums: dict[GateTerm, dict[str, int]] = {}
    numbers = count()
    for equation in equations:
        for addends in _sums(equation.expression):
            number = next(numbers)
            for addend in addends:
                term = term_of(addend)
                if term is not None:
                    sums.setdefault(term, {})[gate_of(addend)] = number
    groups: dict[tuple[tuple[str, int], ...], list[GateTerm]] = {}
    for term, places in sums.items():
        groups.setdefault(tuple(sorted(places.items())), []).append(term)
    return tuple(
        Group(tuple(terms), tuple(sorted((gate for gate, _ in places), key=(*order, "").index)))
        for places, terms in groups.items()
    )


def term_of(addend: Expression) -> GateTerm | None:
    """Returns the term of an addend, or None for one that belongs to no group.

    Example:
      term_of(Old("h") @ Weight("U", "i"))  # GateTerm("U", Old("h"))
    """
    match addend:
        case Binary("@", left, Weight(letter, gate)):
            # W_m and U_m make the intermediate state, not a gate.
            return GateTerm(f"{letter}_m" if gate == "m" else letter, left)
        case Weight("b", gate) if gate != "hn":  # r multiplies b_hn of a GRU
            return GateTerm("b")
        case Part(name):
            return GateTerm("", name)
        case Join(parts):
            # One norm spans the products of all gates.
            return term_of(parts[0])
        case _:
            return None


def gate_of(addend: Expression) -> str:
    """Returns the gate that reads an addend; "" if it is for all gates, or for none.

    Example:
      gate_of(Old("i") @ Weight("R", "if"))  # "f"
    """
    match addend:
        case Binary("@", _, Weight(letter, gate)):
            return "" if gate == "m" else gate[-1:] if letter == "R" else gate
        case Weight("b", gate) | Part(_, gate):
            return gate
        case _:
            return ""


def addends_of(expression: Expression) -> list[Expression]:
    """Returns the addends of a sum, from left to right; of another expression, itself.

    Example:
      addends_of(Value("a") + Value("b"))  # [Value("a"), Value("b")]
    """
    match expression:
        case Binary("+", left, right):
            return [*addends_of(left), *addends_of(right)]
        case _:
            return [expression]


def _sums(expression: Expression) -> Iterator[list[Expression]]:
    """Yields the addends of each sum in an expression; a product outside of sums is one addend."""
    addends = addends_of(expression)
    yield addends
    for addend in addends:
        match addend:
            case Binary("@", left, _):
                yield from _sums(left)
            case Binary(_, left, right) | Maximum(left, right):
                yield from _sums(left)
                yield from _sums(right)
            case Call(_, argument):
                yield from _sums(argument)
            case _:
                pass
