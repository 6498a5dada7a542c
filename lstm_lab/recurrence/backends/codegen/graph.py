"""A step as a graph of vectors: arrays [B,4H] become four vectors of H units.

A node is one vector of a row: an input, an elementwise operation, a product with a matrix, or a sum
over the units. Equal nodes are one. The graph holds for every number of units: it is built from a
trace in which one can tell H from R by their lengths (`Sizes`).

Read next: build.py, which makes the graph of a traced step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

# H: hidden units, or those of one head. R: width of h where it is projected. ONE: one number a row.
Width = Literal["H", "R", "ONE"]
Units = tuple[Width | Literal[""], ...]  # of each axis of an array


class UnsupportedError(Exception):
    """A cell of which no kernel can be made; the message names the reason."""


class Node(NamedTuple):
    """A vector of one row.

    Attributes:
      op: a primitive of JAX, or one of `zx`, `state`, `d_state`, `noise`, `weight`, `constant`,
        `size`, `product`, `row_sum`, `row_max`.
      args: numbers of the nodes that it reads.
      width: its length.
      detail: which block of an input (number of the array, block), a constant's value, a width and
        its multiple, the places of a product's matrices, or the exponent of a power.
    """

    op: str
    args: tuple[int, ...]
    width: Width
    detail: Any = None


class WeightBlock(NamedTuple):
    """A block of an array of weights.

    Attributes:
      array: number of the array.
      block: coordinates of the block; along an axis with units they count blocks of units.
      row, column: axes along which the rows and the columns of the block run; -1 for no axis.
    """

    array: int
    block: tuple[int, ...]
    row: int
    column: int


class Outer(NamedTuple):
    """A gradient of a matrix: the sum over rows and steps of the outer product of two vectors."""

    source: int  # node along the rows of the block
    gradient: int  # node along the columns
    place: WeightBlock


class Total(NamedTuple):
    """A gradient of a vector of weights: the sum over rows and steps of one node."""

    node: int
    place: WeightBlock


class Sum(NamedTuple):
    """An array of sums over rows and steps, and how `FlatStep.after` reads it.

    Attributes:
      shape: of the array, in the trace.
      units: width of each axis, or "" where it has no units.
      order: the permutation of the array's axes that gives the variable's.
      summed: axes of the permuted array over which `after` still has to sum.
    """

    shape: tuple[int, ...]
    units: Units
    order: tuple[int, ...]
    summed: tuple[int, ...] = ()


class Sizes(NamedTuple):
    """The lengths with which a step was traced: of H, and of R (0 if h has H units)."""

    H: int
    R: int

    def of(self, width: Width) -> int:
        """Returns a width's length."""
        return {"H": self.H, "R": self.R, "ONE": 1}[width]

    def units(self, shape: Sequence[int], rows: int = 0) -> tuple[int | None, Width]:
        """Returns the last axis of a shape that has units, and their width; None without one.

        Args:
          shape: lengths of the axes.
          rows: length of the axis of rows, which has no units.
        """
        for axis in reversed(range(len(shape))):
            for width in ("H", "R"):
                size, length = self.of(width), shape[axis]
                if size and length and length != rows and length % size == 0:
                    return axis, width
        return None, "ONE"


@dataclass
class Graph:
    """The nodes, and what the step leaves.

    Attributes:
      sizes: lengths of the trace.
      nodes: in an order in which arguments come first.
      uses_gradient: whether a node depends on the gradient of the new state.
      state, d_state: nodes of the new state's and of the old state's gradient's blocks, by field.
      gates: nodes of the gates, by name.
      d_zx: nodes of the gradient of zx.
      outers, totals: gradients of weights, placed in `sums`.
      sums: one for each of `FlatStep.sums`.
    """

    sizes: Sizes
    nodes: list[Node] = field(default_factory=list)
    uses_gradient: list[bool] = field(default_factory=list)
    state: list[list[int]] = field(default_factory=list)
    d_state: list[list[int]] = field(default_factory=list)
    gates: dict[str, list[int]] = field(default_factory=dict)
    d_zx: list[int] = field(default_factory=list)
    outers: list[Outer] = field(default_factory=list)
    totals: list[Total] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    _numbers: dict[Node, int] = field(default_factory=dict)

    def add(self, op: str, args: Sequence[int], width: Width, detail: Any = None) -> int:
        """Returns the number of a node, a new one if there is none like it."""
        node = Node(op, tuple(args), width, detail)
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
            of_gradient = op == "d_state" or any(self.uses_gradient[k] for k in node.args)
            self.uses_gradient.append(of_gradient)
        return self._numbers[node]

    def operate(self, op: str, args: Sequence[int], detail: Any = None) -> int:
        """Returns the number of an elementwise operation; one that changes nothing adds no node."""
        value = [self.value(k) for k in args]
        match "add" if op == "add_any" else op:
            case "copy" | "stop_gradient":
                return args[0]
            case "convert_element_type" if _keeps_value(*detail):
                return args[0]
            case "convert_element_type" if detail[0].kind != "b" or detail[1].kind != "f":
                before, after = (dtype.name for dtype in detail)
                raise UnsupportedError(
                    f"convert_element_type: got {before} to {after}, expected a flag to a number"
                )
            case "add" if value[0] == 0.0:
                return args[1]
            case "add" | "sub" if value[1] == 0.0:
                return args[0]
            case "mul" if value[0] == 1.0:
                return args[1]
            case "mul" | "div" if value[1] == 1.0:
                return args[0]
            case "select_n" if value[0] is not None:
                return args[2] if value[0] else args[1]
            case "select_n" if args[1] == args[2]:
                return args[1]
            case "choose_flag":
                # By flags alone, which have no place in memory: `select_n` is a vector.
                which, otherwise, chosen = args
                chosen = self.operate("and", (which, chosen))
                otherwise = self.operate("and", (self.operate("not", (which,)), otherwise))
                return self.operate("or", (otherwise, chosen))
            case name:
                widths = {self.nodes[k].width for k in args} - {"ONE"}
                if len(widths) > 1:
                    raise UnsupportedError(f"{op}: got vectors of H and of R units together")
                return self.add(name, args, widths.pop() if widths else "ONE", detail)

    def constant(self, value: Any) -> int:
        """Returns the number of a constant's node."""
        number = float(value)
        # A mean over the units divides by their number, which differs between layers.
        for width in ("H", "R"):
            size = self.sizes.of(width)
            if size and number >= size and number % size == 0:
                return self.add("size", (), "ONE", (width, int(number // size)))
        kind = bool if np.asarray(value).dtype == bool else float
        return self.add("constant", (), "ONE", kind(value))

    def value(self, k: int) -> float | bool | None:
        """Returns the value of a constant's node, or None."""
        return self.nodes[k].detail if self.nodes[k].op == "constant" else None

    def block_number(self, k: int) -> int:
        """Returns the number of an input's block among all blocks of inputs of its kind."""
        node = self.nodes[k]
        return sorted(n.detail for n in self.nodes if n.op == node.op).index(node.detail)


def _keeps_value(before: np.dtype, after: np.dtype) -> bool:
    """Returns whether a conversion changes nothing in a kernel, which computes in float32."""
    return before.kind == after.kind and after.itemsize >= min(before.itemsize, 4)
