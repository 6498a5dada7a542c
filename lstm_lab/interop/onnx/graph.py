"""A graph of ONNX as plain data: tensors by name, nodes in the order of their computation.

In: calls that add nodes. Out: an `OnnxGraph`, which proto.py turns into a file. Nothing here needs
the package onnx, so that a graph can be built and looked at without it. Names are unique in a graph
and its bodies, as ONNX demands. Read model.py next, which builds the graph of a whole model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

DType = Literal["float32", "int32", "int64", "bool"]
# The axes of a tensor: a name stands for a size that is known when the model runs. None leaves all
# of them to the inference of shapes.
Shape = tuple[int | str, ...] | None


class Tensor(NamedTuple):
    """An input or an output of a graph.

    Attributes:
      name: its name.
      dtype: the type of its entries.
      shape: its axes; a name such as `batch` may have any size.

    Example:
      Tensor("tokens", "int64", ("batch", "time"))
    """

    name: str
    dtype: DType
    shape: Shape


class OnnxNode(NamedTuple):
    """One operator.

    Attributes:
      operator: its name in ONNX.
      inputs: names of tensors; "" leaves an optional input out.
      outputs: names of the tensors that it computes.
      attributes: constants of the operator; an `OnnxGraph` is the body of a loop.

    Example:
      OnnxNode("Add", ("a", "b"), ("sum",), {})
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class OnnxGraph:
    """Nodes, with inputs, outputs and constants.

    Attributes:
      inputs, outputs: what a caller gives and gets.
      nodes: the operators, each after those that it reads.
      constants: arrays by name, shared with the bodies of loops in the graph.

    Example:
      graph = OnnxGraph()
      x = graph.read("x", "float32", ("batch", 3))
      graph.write(graph.add("Tanh", (x,), "y"), "float32", ("batch", 3))
    """

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    nodes: list[OnnxNode] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def body(self) -> OnnxGraph:
        """Returns an empty graph for the body of a loop, which reads constants of this one.

        Example:
          graph.add("Scan", inputs, "h", body=body, num_scan_inputs=1)
        """
        return OnnxGraph(constants=self.constants, _names=self._names)

    def read(self, name: str, dtype: DType, shape: Shape) -> str:
        """Adds an input and returns its name.

        Args:
          name: the wanted name.
          dtype: the type of its entries.
          shape: its axes.

        Example:
          lengths_B = graph.read("lengths", "int32", ("batch",))
        """
        name = self._unique(name)
        self.inputs.append(Tensor(name, dtype, shape))
        return name

    def write(self, name: str, dtype: DType, shape: Shape) -> None:
        """Makes a tensor an output.

        Args:
          name: the tensor.
          dtype: the type of its entries.
          shape: its axes.

        Example:
          graph.write(logits, "float32", ("batch", 10))
        """
        self.outputs.append(Tensor(name, dtype, shape))

    def constant(self, name: str, value: np.ndarray) -> str:
        """Stores an array and returns its name; the same name always holds the same array.

        Args:
          name: the name.
          value: the array.

        Raises:
          ValueError: for a name that holds another array.

        Example:
          graph.constant("layer_0.b_i", np.zeros(16, np.float32))
        """
        stored = self.constants.setdefault(name, value)
        if stored is not value and not np.array_equal(stored, value):
            raise ValueError(f"{name}: holds another array")
        self._names.add(name)
        return name

    def number(self, value: float) -> str:
        """Returns a constant with one number, float32.

        Example:
          graph.add("Sub", (graph.number(1.0), gate), "other_gate")
        """
        return self.constant(
            f"number_{value:g}".replace("-", "minus_"), np.array(value, np.float32)
        )

    def axes(self, *numbers: int) -> str:
        """Returns a constant with numbers of axes, which many operators take as an input.

        Example:
          graph.add("Unsqueeze", (x_TD, graph.axes(1)), "x_TBD")
        """
        name = "axes_" + "_".join(str(number).replace("-", "minus_") for number in numbers)
        return self.constant(name, np.array(numbers, np.int64))

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds an operator with one output and returns the name of the output.

        Args:
          operator: its name in ONNX.
          inputs: the tensors that it reads.
          name: the wanted name of its output; a number is appended if it exists already.
          **attributes: the constants of the operator.

        Example:
          h_BTH = graph.add("Transpose", (h_TBH,), "h_batch_major", perm=[1, 0, 2])
        """
        return self.add_many(operator, inputs, (name,), **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any
    ) -> tuple[str, ...]:
        """Adds an operator with several outputs and returns their names.

        Args:
          operator: its name in ONNX.
          inputs: the tensors that it reads.
          names: the wanted names of its outputs.
          **attributes: the constants of the operator.

        Example:
          left, right = graph.add_many("Split", (x, sizes), ("left", "right"), axis=-1)
        """
        outputs = tuple(self._unique(name) for name in names)
        self.nodes.append(OnnxNode(operator, tuple(inputs), outputs, attributes))
        return outputs

    def pruned(self) -> OnnxGraph:
        """Returns the graph without nodes and constants that no output needs.

        Example:
          graph.pruned().constants.keys() <= graph.constants.keys()  # True
        """
        needed, kept = {tensor.name for tensor in self.outputs}, list[OnnxNode]()
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= _read_by(node)
        constants = {name: value for name, value in self.constants.items() if name in needed}
        return OnnxGraph(self.inputs, self.outputs, kept[::-1], constants)

    def _unique(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._names:
            number += 1
            candidate = f"{name}_{number}"
        self._names.add(candidate)
        return candidate


def _read_by(node: OnnxNode) -> set[str]:
    """Returns the tensors that a node reads, also inside its body."""
    bodies = [value for value in node.attributes.values() if isinstance(value, OnnxGraph)]
    inner = {name for body in bodies for part in body.nodes for name in _read_by(part)}
    return {*node.inputs, *inner}
