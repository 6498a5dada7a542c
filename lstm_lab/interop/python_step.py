"""The equations of a cell as lines of Python, for PyTorch, Keras, Flax and Equinox.

In: a trained cell, and how a framework calls its functions (`TORCH`, `KERAS`, `JAX`). Out: one line
per equation. For PyTorch, matrices and norms are modules of the cell, such as `self.W`; read
pytorch/cell_code.py next. For the others, the lines are the body of

    def step(w, x, state): ...

with the weights `w` by name, the input `x` [B,D], and the vectors of the state as a tuple;
`standalone/` has the cells that call it. Read fused_step.py for the equations themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Expression,
    Maximum,
    Number,
    Old,
    Value,
    Weight,
)
from lstm_lab.interop.fused_step import Assignment, fused_step
from lstm_lab.interop.portable import PortableLayer, variant_name
from lstm_lab.interop.products import addends_of
from lstm_lab.interop.trained_equations import state_vectors

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2}


@dataclass(frozen=True)
class PythonWriter:
    """Writes expressions as Python for one framework.

    Attributes:
      functions: our names of functions -> those of the framework.
      axis: the framework's name of the argument for an axis.
      modules: whether matrices and norms are modules, which also add their biases: `self.W(x)`
        instead of `x @ w["W"] + w["b"]`.

    Example:
      JAX.code(Call("tanh", Value("c")))  # "jnp.tanh(c)"
    """

    functions: Mapping[str, str]
    axis: str = "axis"
    modules: bool = False

    def line(self, assignment: Assignment) -> str:
        """Returns the line of an assignment.

        Args:
          assignment: a line of a `FusedStep`.

        Example:
          JAX.line(Assignment(("h",), Value("o") * Value("c")))  # "h = o * c"
        """
        names, code = assignment.names, self.code(assignment.expression)
        if len(names) > 1:
            code = self.split(code, len(names))
        return f"{', '.join(map(value_name, names))} = {code}"

    def split(self, code: str, parts: int) -> str:
        """Returns the code that splits a vector into equal parts.

        Args:
          code: the code of the vector.
          parts: the number of parts.

        Example:
          JAX.split("z", 4)  # "jnp.split(z, 4, axis=-1)"
        """
        return f"{self.functions['split']}({code}, {parts}, {self.axis}=-1)"

    def code(self, expression: Expression) -> str:
        """Returns an expression as Python.

        Args:
          expression: an expression of a `FusedStep`; it has no `Part` and no `Join`.

        Example:
          TORCH.code(Value("x") @ Weight("W") + Weight("b"))  # "self.W(x)"
        """
        match self._without_owned(expression):
            case Value(name):
                return value_name(name)
            case Old(name):
                return old_name(name)
            case Weight() as weight:
                return f"self.{weight.name}" if self.modules else f'w["{weight.name}"]'
            case Number(value):
                return f"{value:.12g}"
            case Call("log", Call("sigmoid", argument)):
                # Not as it is written: log(sigmoid(z)) is -inf in float32 from z < -104 on.
                return f"{self.functions['log_sigmoid']}({self.code(argument)})"
            case Call(function, argument):
                return f"{self.functions[function]}({self.code(argument)})"
            case Maximum(left, right, stored):
                return self._maximum(left, right, stored)
            case Binary("+") as total:
                terms = enumerate(addends_of(total))
                return " + ".join(self._operand(term, "+", is_right=n > 0) for n, term in terms)
            case Binary() as product if (module := self._module(product)) is not None:
                return module
            case Binary("-", Number(0.0), right):
                return f"-{self._operand(right, '-', is_right=True)}"
            case Binary(operator, left, right):
                first = self._operand(left, operator)
                return f"{first} {operator} {self._operand(right, operator, is_right=True)}"
            case _:
                raise AssertionError(f"no code for {expression}")

    def _without_owned(self, expression: Expression) -> Expression:
        """Returns an expression without the biases that modules add."""
        addends = addends_of(expression)
        owned = module_biases(addends).values() if self.modules else ()
        return reduce(add, [addend for addend in addends if addend not in owned])

    def _module(self, expression: Binary) -> str | None:
        """Returns the call of a module, if it computes the expression."""
        match expression:
            case Binary("@", left, Weight() as weight) if self.modules:
                return f"self.{weight.name}({self.code(left)})"
            case Binary("*", Weight("gain", what), Call("normalize", argument)) if self.modules:
                return f"self.{norm_name(what)}({self.code(argument)})"
            case _:
                return None

    def _maximum(self, left: Expression, right: Expression, stored: Old | None) -> str:
        second = self.code(right)
        larger = f"{self.functions['maximum']}({self.code(left)}, {second})"
        if stored is None:
            return larger
        return f"{self.functions['where']}({self.code(stored)} == 0, {second}, {larger})"

    def _operand(self, operand: Expression, operator: str, is_right: bool = False) -> str:
        """Returns an operand, in parentheses where Python or a reader needs them."""
        operand = self._without_owned(operand)
        code = self.code(operand)
        if not isinstance(operand, Binary) or self._module(operand) is not None:
            return code
        inner, outer = _LEVELS[operand.operator], _LEVELS[operator]
        # A product with a matrix gets them too: x @ w * y would be ambiguous to the eye.
        mixed = inner == outer and "@" in (operand.operator, operator)
        loose = inner < outer or mixed or (is_right and inner == outer)
        return f"({code})" if loose else code


_ARRAYS = ("tanh", "exp", "log", "maximum", "where", "split")
_NN = ("sigmoid", "relu", "log_sigmoid")
# `normalize` is a function of the file that the step is written to.
_OWN = {"normalize": "normalize"}
KERAS = PythonWriter({name: f"ops.{name}" for name in (*_ARRAYS, *_NN, "concatenate")} | _OWN)
JAX = PythonWriter(
    {name: f"jnp.{name}" for name in (*_ARRAYS, "concatenate")}
    | {name: f"jax.nn.{name}" for name in _NN}
    | _OWN
)
TORCH = PythonWriter(
    {name: f"torch.{name}" for name in (*_ARRAYS, *_NN)}
    | {"split": "torch.chunk", "log_sigmoid": "nn.functional.logsigmoid"},
    axis="dim",
    modules=True,
)


def step_source(layer: PortableLayer, writer: PythonWriter) -> str:
    """Returns the source of the function that computes one time step of a trained layer.

    Args:
      layer: the layer; every layer of a model has the same step.
      writer: `KERAS` or `JAX`.

    Returns:
      The text of `step(w, x, state)`, which returns the new state; its first vector is h.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      print(step_source(portable_model(run.trained).layers[0][0], JAX))
    """
    lines = [
        f'"""Computes one time step of the cell {variant_name(layer.spec)}."""',
        *_unpacked_state(layer, writer),
        *(writer.line(line) for line in fused_step(layer.spec, layer.rates).lines),
        f"return {_new_state(layer, writer)}",
    ]
    return "def step(w, x, state):\n" + "".join(f"    {line}\n" for line in lines)


def _unpacked_state(layer: PortableLayer, writer: PythonWriter) -> list[str]:
    fields = [old_name(field) for field in layer.state_sizes]
    lines = [f"{', '.join(fields) if len(fields) > 1 else f'({fields[0]},)'} = state"]
    if "gates" in layer.state_sizes:
        lines.append(f"i_old, f_old, o_old = {writer.split('gates_old', 3)}")
    return lines


def _new_state(layer: PortableLayer, writer: PythonWriter) -> str:
    vectors = state_vectors(layer)
    fields = []
    for field in layer.state_sizes:
        names = [value_name(name) for name, (place, _) in vectors.items() if place == field]
        joined = f"{writer.functions['concatenate']}([{', '.join(names)}], {writer.axis}=-1)"
        fields.append(names[0] if len(names) == 1 else joined)
    return f"({', '.join(fields)}{',' if len(fields) == 1 else ''})"


def module_biases(addends: Sequence[Expression]) -> dict[str, Weight]:
    """Returns the biases in a sum that modules add: by the weight of the module, W or the gain.

    Args:
      addends: those of a sum.

    Example:
      module_biases([Value("x") @ Weight("W"), Weight("b")])  # {"W": Weight("b")}
    """
    biases = {addend.letter: addend for addend in addends if isinstance(addend, Weight)}
    found: dict[str, Weight] = {}
    for addend in addends:
        match addend:
            case Binary("@", _, Weight() as weight) if weight.name[0] == "W":
                letter = weight.name.replace("W", "b")
            case Binary("*", Weight("gain") as weight, _):
                letter = "bias"
            case _:
                continue
        if letter in biases:
            found[weight.name] = biases[letter]
    return found


def norm_name(what: str) -> str:
    """Returns the name of the module that normalizes the product with x or h, or c.

    Example:
      norm_name("c")  # "norm_c"
    """
    return f"norm_{what}"


def old_name(name: str) -> str:
    """Returns the name of a vector of the step before in Python.

    Example:
      old_name("c")  # "c_old"
    """
    return f"{value_name(name)}_old"


def value_name(name: str) -> str:
    """Returns the name of a vector in Python; a tilde over it becomes a word.

    Example:
      value_name("c~")  # "c_tilde"
    """
    # The letter l is hard to tell from the digit 1.
    return "log_f" if name == "l" else name.replace("~", "_tilde")
