"""The step of a cell as Python code for PyTorch, one line per equation, and its weights.

In: a variant and its rates. Out: `CellCode`: the names of its modules and vectors, the lines of
`step`, and a function from the weights of a layer to the tensors of the written module. The names
are those of the equations: `W`, `U` and `b` hold all gates that one product computes, `h_old` is
h'. Read module.py next, which puts the lines into a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import gate_names
from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Maximum,
    Number,
    Old,
    Value,
    Weight,
)
from lstm_lab.interop.portable import FloatArray, PortableLayer
from lstm_lab.interop.pytorch.products import (
    GateTerm,
    Group,
    addends_of,
    find_groups,
    gate_of,
    term_of,
)
from lstm_lab.interop.trained_equations import (
    equation_weights,
    is_log_sigmoid,
    parts,
    trained_equations,
)

_FUNCTIONS = {"sigmoid": "torch.sigmoid", "tanh": "torch.tanh", "relu": "torch.relu"}
_FUNCTIONS |= {"exp": "torch.exp", "log": "torch.log"}
# The letter l is hard to tell from the digit 1.
_NAMES = {"l": "log_f"}


@dataclass(frozen=True)
class Attribute:
    """A module or a vector of the written cell.

    Attributes:
      name: its name, such as `W`.
      code: the code that makes it, such as `nn.Linear(input_size, 4 * hidden_size)`.
      tensors: its tensors in a state dict -> the names of the equations' weights that stand side by
        side in them.

    Example:
      Attribute("P", "nn.Linear(hidden_size, output_size, bias=False)", {"P.weight": ("P",)})
    """

    name: str
    code: str
    tensors: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class CellCode:
    """The code of one variant.

    Attributes:
      spec: the variant.
      equations: its equations in evaluation.

    Example:
      code = cell_code(get_variant("peephole").spec, {})
      code.lines[1]  # "i = torch.sigmoid(z_i + self.p_i * c_old)"
    """

    spec: Spec
    equations: tuple[Equation, ...]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The addends that are computed at once."""
        return find_groups(self.equations, gate_names(self.spec))

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The modules and vectors of the cell, in the order of their use."""
        products = [made for group in self.groups for made in self._of_group(group)]
        vectors = [made for part in self._parts for made in self._of_vector(part)]
        return tuple({made.name: made for made in (*products, *vectors)}.values())

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines of `step`: each equation, after the products of all gates that it reads."""
        lines: list[str] = []
        split: set[Group] = set()
        for equation in self.equations:
            for addend in parts(equation.expression):
                group = self._group_of(addend)
                if group is not None and len(group.gates) > 1 and group not in split:
                    split.add(group)
                    names = ", ".join(f"{self._prefix(group)}_{gate}" for gate in group.gates)
                    inputs = self._inputs(group)
                    joined = f"({inputs})" if " " in inputs else inputs
                    lines.append(f"{names} = {joined}.chunk({len(group.gates)}, dim=-1)")
            lines.append(f"{value_name(equation.result.name)} = {self._code(equation.expression)}")
        return tuple(lines)

    def tensors(self, layer: PortableLayer) -> dict[str, FloatArray]:
        """Returns the weights of a layer by their names in the state dict of the written cell."""
        weights = equation_weights(layer)
        return {
            # A matrix of nn.Linear is transposed; a vector stays as it is.
            name: np.ascontiguousarray(np.concatenate([weights[w] for w in names], -1).T)
            for attribute in self.attributes
            for name, names in attribute.tensors.items()
        }

    # ---- groups: products of all gates

    @cached_property
    def _parts(self) -> tuple[Expression, ...]:
        return tuple(part for e in self.equations for part in parts(e.expression))

    @cached_property
    def _weights(self) -> set[str]:
        return {part.name for part in self._parts if isinstance(part, Weight)}

    def _group_of(self, addend: Expression) -> Group | None:
        term = term_of(addend)
        if term is None:
            return None
        groups = (group for group in self.groups if term in group.terms)
        return next((group for group in groups if gate_of(addend) in group.gates), None)

    def _name(self, term: GateTerm, group: Group) -> str:
        """Returns the name of the matrix of a term: `W`, or `U_f` if other gates have another."""
        same = [s for g in self.groups for s in g.terms if s.letter == term.letter]
        if len(same) == 1:
            return term.letter
        if term.letter == "R":
            assert isinstance(term.left, Old)
            return f"R_{term.left.name}"
        return f"{term.letter}_{''.join(group.gates)}"

    def _prefix(self, group: Group) -> str:
        """Returns the letter of a group's parts: z of a pre-activation, x of a product with x."""
        products = [term for term in group.terms if term.letter != "b"]
        letters = {term.letter for term in products}
        match products:
            case [GateTerm(left=Value(name) | Old(name))]:
                return name
            case _:
                return "r" if letters == {"R"} else "z"

    def _inputs(self, group: Group) -> str:
        """Returns the code of the sum of a group's terms, for all its gates."""
        terms = []
        for term in group.terms:
            if isinstance(term.left, str):
                terms.append(term.left)
            elif term.left is not None:
                terms.append(f"self.{self._name(term, group)}({self._code(term.left)})")
            elif not self._bias_in_matrix(group):
                terms.append(f"self.{self._name(term, group)}")
        return " + ".join(terms)

    @staticmethod
    def _bias_in_matrix(group: Group) -> bool:
        """Returns whether the bias of a group is that of its `nn.Linear` of the inputs."""
        return any(term.letter == "W" for term in group.terms)

    def _of_group(self, group: Group) -> Iterator[Attribute]:
        for term in group.terms:
            name = self._name(term, group)
            if term.letter == "b" and not self._bias_in_matrix(group):
                size = _times(len(group.gates), "hidden_size")
                yield Attribute(name, _zeros(size), {name: self._weight_names(term, group)})
            elif term.left is not None and term.letter:
                yield self._matrix(term, group)

    def _matrix(self, term: GateTerm, group: Group) -> Attribute:
        name, has_bias = self._name(term, group), False
        fan_in, fan_out = _SIZES[term.letter]
        if Weight("P") not in self._parts:  # without a projection, h has all units
            fan_in, fan_out = (size.replace("output", "hidden") for size in (fan_in, fan_out))
        # One norm spans the products of all gates.
        is_whole = term.letter in ("W", "U") and group.gates == ("",)
        number = len(gate_names(self.spec)) if is_whole else len(group.gates)
        tensors = {f"{name}.weight": self._weight_names(term, group)}
        if term.letter == "W" and GateTerm("b") in group.terms:
            has_bias = True
            tensors[f"{name}.bias"] = self._weight_names(GateTerm("b"), group)
        size = f"{fan_in}, {_times(number, fan_out)}"
        return Attribute(name, f"nn.Linear({size}{'' if has_bias else ', bias=False'})", tensors)

    def _weight_names(self, term: GateTerm, group: Group) -> tuple[str, ...]:
        """Returns the names of a term's weights: W_i, W_f; R_ii, R_if; P without a gate."""
        match term:
            case GateTerm("R", Old(old)):
                return tuple(f"R_{old}{gate}" for gate in group.gates)
            case GateTerm(letter) if letter in self._weights:
                return (letter,)
            case GateTerm(letter):
                # Without gates, the matrices of all gates stand in one norm.
                gates = gate_names(self.spec) if group.gates == ("",) else group.gates
                return tuple(f"{letter}_{gate}" for gate in gates)

    # ---- vectors: peepholes and norms

    def _of_vector(self, part: Expression) -> Iterator[Attribute]:
        match part:
            case Weight("p", gate):
                yield Attribute(f"p_{gate}", _zeros("hidden_size"), {f"p_{gate}": (f"p_{gate}",)})
            case Weight("gain", what):
                has_bias = Weight("bias", what) in self._parts
                count = 1 if has_bias else len(gate_names(self.spec))
                tensors = {f"norm_{what}.weight": (f"gain_{what}",)}
                if has_bias:
                    tensors[f"norm_{what}.bias"] = (f"bias_{what}",)
                size = f"{_times(count, 'hidden_size')}{'' if has_bias else ', bias=False'}"
                yield Attribute(f"norm_{what}", f"nn.LayerNorm({size})", tensors)
            case _:
                pass

    # ---- expressions

    def _code(self, expression: Expression) -> str:
        """Writes an expression in Python."""
        match expression:
            case Value(name):
                return value_name(name)
            case Old(name):
                return f"{value_name(name)}_old"
            case Weight():
                return f"self.{expression.name}"
            case Number(value):
                return f"{value:.12g}"
            case Call("log", Call("sigmoid", argument)) if is_log_sigmoid(expression):
                return f"nn.functional.logsigmoid({self._code(argument)})"
            case Call(function, argument):
                return f"{_FUNCTIONS[function]}({self._code(argument)})"
            case Maximum(left, right, stored):
                second = self._code(right)
                larger = f"torch.maximum({self._code(left)}, {second})"
                if stored is None:
                    return larger
                return f"torch.where({self._code(stored)} == 0, {second}, {larger})"
            case Binary("*", Weight("gain", what), Call("normalize", argument)):
                return f"self.norm_{what}({self._code(argument)})"
            case Binary("+", left, Weight("bias")):
                return self._code(left)  # the norm has this bias
            case Binary("+") | Binary("@"):
                return self._sum(expression)
            case Binary("-", Number(0.0), right):
                return f"-{self._operand(right, '-', is_right=True)}"
            case Binary(operator, left, right):
                right_code = self._operand(right, operator, is_right=True)
                return f"{self._operand(left, operator)} {operator} {right_code}"
            case _:
                return self._sum(expression)

    def _sum(self, expression: Expression) -> str:
        """Writes a sum; the terms of a group are one addend."""
        terms: dict[str, None] = {}
        for addend in addends_of(expression):
            group = self._group_of(addend)
            if group is None:
                terms[self._code(addend)] = None
            elif len(group.gates) > 1:
                terms[f"{self._prefix(group)}_{gate_of(addend)}"] = None
            else:
                terms[self._inputs(group)] = None
        return " + ".join(terms)

    def _operand(self, operand: Expression, operator: str, is_right: bool = False) -> str:
        code = self._code(operand)
        loose = isinstance(operand, Binary) and operand.operator in "+-" and " " in code
        grouped = isinstance(operand, Binary) and operand.operator in "*/" and is_right
        if (operator in "*/" and (loose or grouped)) or (operator == "-" and loose and is_right):
            return f"({code})"
        return code


# Inputs and outputs of the matrices of one gate, by letter.
_SIZES = {
    "W": ("input_size", "hidden_size"),
    "U": ("output_size", "hidden_size"),
    "R": ("hidden_size", "hidden_size"),
    "W_m": ("input_size", "output_size"),
    "U_m": ("output_size", "output_size"),
    "P": ("hidden_size", "output_size"),
}


def cell_code(spec: Spec, rates: Mapping[str, float]) -> CellCode:
    """Returns the code of a variant.

    Args:
      spec: the variant.
      rates: the rates of its regularization, by name.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      print("\\n".join(cell_code(MGUSpec(), {}).lines))
    """
    return CellCode(spec, trained_equations(spec, rates))


def value_name(name: str) -> str:
    """Returns the name of a value in Python: c~ is `c_tilde`.

    Example:
      value_name("l")  # "log_f"
    """
    return _NAMES.get(name, name.replace("~", "_tilde"))


def _times(number: int, size: str) -> str:
    return size if number == 1 else f"{number} * {size}"


def _zeros(size: str) -> str:
    return f"nn.Parameter(torch.zeros({size}))"
