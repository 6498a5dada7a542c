"""Writes the expressions of equations as nodes of a graph.

In: equations, and the tensors that they start from. Out: nodes, one for each operation. Products
with the same left side, such as h' U_i and h' U_f, become one product with all matrices side by
side, which is split afterwards: a large product takes less time than several small ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Function,
    Join,
    Maximum,
    Number,
    Old,
    Part,
    Value,
    Weight,
)
from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.interop.portable import PortableLayer
from lstm_lab.interop.trained_equations import equation_weights, parts

_BINARY = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}
_CALLS: dict[Function, str] = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "exp": "Exp",
    "log": "Log",
}


class ExpressionWriter:
    """Writes equations as nodes.

    Attributes:
      graph: the graph that gets the nodes.
      layer: the layer whose equations they are; its name starts those of its weights.
      prefix: the start of all other names.
      weights: its weights by their names in the equations.
      equations: the equations in the order of their computation.
      values: tensors by the name of their vector; each equation adds its result.
      old: tensors of the step before, by the name of their vector.

    Example:
      writer = ExpressionWriter(graph, layer, "layer_0", equations, {"x": x_TBD})
      writer.write_all()
      writer.values["f"]  # "layer_0.f"
    """

    def __init__(
        self,
        graph: OnnxGraph,
        layer: PortableLayer,
        prefix: str,
        equations: Sequence[Equation],
        values: dict[str, str],
    ) -> None:
        self.graph, self.layer, self.prefix = graph, layer, prefix
        self.weights = equation_weights(layer)
        self.equations, self.values = equations, values
        self.old: dict[str, str] = {}
        self._written: dict[Expression, str] = {}
        self._products = _products(equations)

    def write_all(self) -> None:
        """Writes all equations."""
        for equation in self.equations:
            result = equation.result.name
            name = f"{self.prefix}.{result.replace('~', '_tilde')}"
            self.values[result] = self._write(equation.expression, name)

    def _write(self, expression: Expression, name: str) -> str:
        """Returns the tensor of an expression; a node that is missing is written.

        Args:
          expression: the expression.
          name: the wanted name of the tensor; parts of the expression get longer ones.
        """
        match expression:
            case Value(vector):
                return self.values[vector]
            case Old(vector):
                return self.old[vector]
            case Weight():
                return self._constant(expression.name, self.weights[expression.name])
            case Number(value):
                return self.graph.number(value)
        if expression not in self._written:
            self._written[expression] = self._node(expression, name)
        return self._written[expression]

    def _node(self, expression: Expression, name: str) -> str:
        add = self.graph.add
        match expression:
            case Binary("@", left, Weight()):
                self._multiply(left, name)
                return self._written[expression]
            case Binary("*", Weight() as gain, Call("normalize", argument)):
                inputs = (self._write(argument, f"{name}.product"), self._write(gain, name))
                return add("LayerNormalization", inputs, name, axis=-1, epsilon=1e-5)
            case Binary(operator, left, right):
                inputs = (self._write(left, f"{name}.left"), self._write(right, f"{name}.right"))
                return add(_BINARY[operator], inputs, name)
            case Call("log", Call("sigmoid", argument)):
                # log s(z) = -softplus(-z), which is finite for every z.
                negative = add("Neg", (self._write(argument, f"{name}.z"),), f"{name}.minus_z")
                return add("Neg", (add("Softplus", (negative,), f"{name}.softplus"),), name)
            case Call(function, argument):
                return add(_CALLS[function], (self._write(argument, f"{name}.z"),), name)
            case Join(joined):
                tensors = [self._write(part, f"{name}.{k}") for k, part in enumerate(joined)]
                return add("Concat", tensors, name, axis=-1)
            case Part():
                self._split(expression)
                return self._written[expression]
            case Maximum(left, right, stored):
                second = self._write(right, f"{name}.right")
                larger = add("Max", (self._write(left, f"{name}.left"), second), f"{name}.larger")
                if stored is None:
                    return larger
                is_empty = (self._write(stored, name), self.graph.number(0.0))
                nothing = add("Equal", is_empty, f"{name}.nothing_stored")
                return add("Where", (nothing, second, larger), name)
            case _:
                raise AssertionError(expression)

    def _multiply(self, left: Expression, name: str) -> None:
        """Writes all products of one left side."""
        matrices = self._products[left]
        letter = matrices[0].letter
        joined = f"{letter}_{'_'.join(w.gate for w in matrices)}" if matrices[0].gate else letter
        arrays = [self.weights[weight.name] for weight in matrices]
        constant = self._constant(joined, np.concatenate(arrays, 1))
        inputs = (self._write(left, f"{name}.factor"), constant)
        if len(matrices) == 1:
            self._written[left @ matrices[0]] = self.graph.add("MatMul", inputs, f"{name}.product")
            return
        product = self.graph.add("MatMul", inputs, f"{self.prefix}.{joined}.product")
        sizes = self._constant(f"{joined}.sizes", np.array([a.shape[1] for a in arrays], np.int64))
        names = [f"{self.prefix}.{weight.name}.product" for weight in matrices]
        split = self.graph.add_many("Split", (product, sizes), names, axis=-1)
        for weight, tensor in zip(matrices, split, strict=True):
            self._written[left @ weight] = tensor

    def _split(self, part: Part) -> None:
        """Writes all parts of a vector over all gates."""
        vector = self.values[part.name]
        size = self.weights[f"b_{part.gate}"].shape[0]
        sizes = np.full(len(part.gates), size, np.int64)
        names = [f"{vector}_{gate}" for gate in part.gates]
        constant = self._constant(f"{part.name}.sizes", sizes)
        tensors = self.graph.add_many("Split", (vector, constant), names, axis=-1)
        for gate, tensor in zip(part.gates, tensors, strict=True):
            self._written[Part(part.name, gate, part.gates)] = tensor

    def _constant(self, name: str, value: np.ndarray) -> str:
        return self.graph.constant(f"{self.layer.name}.{name}", value)


def _products(equations: Sequence[Equation]) -> dict[Expression, list[Weight]]:
    """Returns the matrices that each left side is multiplied by, in the order of the equations."""
    products: dict[Expression, list[Weight]] = {}
    for equation in equations:
        for part in parts(equation.expression):
            if isinstance(part, Binary) and part.operator == "@":
                assert isinstance(part.right, Weight)
                matrices = products.setdefault(part.left, [])
                if part.right not in matrices:
                    matrices.append(part.right)
    return products
