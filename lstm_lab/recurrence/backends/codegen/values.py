"""The arrays of a traced step as blocks of units.

In: `FlatStep`, traced with `Sizes`. Read build.py next, which fills `Values` equation by equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Literal, Var
from numpy.typing import NDArray

from lstm_lab.recurrence.backends.codegen.flat import ROWS, FlatStep
from lstm_lab.recurrence.backends.codegen.graph import Graph, Sizes, UnsupportedError, Width

Blocks = NDArray[np.int64]  # numbers of nodes, one for each block


class BlockArray(NamedTuple):
    """An array of the program: its blocks, with an axis of length 1 for the rows.

    Attributes:
      blocks: numbers of nodes; along the axis of units one for each block of units.
      unit_axis: the axis along which units lie; None if every entry is one number.
      width: of the units.
    """

    blocks: Blocks
    unit_axis: int | None
    width: Width


def aval(v: Var | Literal) -> ShapedArray:
    """Returns shape and dtype of a variable."""
    assert isinstance(v.aval, ShapedArray)
    return v.aval


class Values:
    """The values of a program's variables, while the graph grows.

    Args:
      flat: the step.
      sizes: lengths of the trace.
    """

    def __init__(self, flat: FlatStep, sizes: Sizes) -> None:
        self.flat, self.graph, self.sizes = flat, Graph(sizes), sizes
        self._values: dict[Var, BlockArray] = {}

    def __setitem__(self, v: Var, value: BlockArray) -> None:
        self._values[v] = value

    def __getitem__(self, v: Any) -> BlockArray:
        """Returns the value of a variable, a literal or a vector of weights."""
        if isinstance(v, Literal):
            number = self.graph.constant(v.val)
            return BlockArray(np.full((1,) * np.ndim(v.val), number), None, "ONE")
        if v not in self._values:
            self._values[v] = self.input("weight", self.flat.weights.index(v), aval(v).shape)
        return self._values[v]

    def input(self, op: str, number: int, shape: tuple[int, ...]) -> BlockArray:
        """Makes nodes of the blocks of an input.

        Args:
          op: the kind of input.
          number: which one of its kind.
          shape: its shape in the trace.
        """
        axis, width = self.sizes.units(shape, ROWS)
        counts = self.counts(shape, axis, width)
        if max(counts, default=1) >= self.sizes.H:
            raise UnsupportedError(f"{op}: got {shape}, which is not made of vectors of one width")
        blocks = np.empty(counts, np.int64)
        for k, index in enumerate(np.ndindex(*counts)):
            detail = (number, index if op == "weight" else k)
            blocks[index] = self.graph.add(op, (), width, detail)
        return BlockArray(blocks, axis, width)

    def flat_blocks(self, v: Any) -> list[int]:
        """Returns the blocks of an array [B,...] in their order."""
        return [int(k) for k in self[v].blocks.reshape(-1)]

    def counts(self, shape: Sequence[int], axis: int | None, width: Width) -> tuple[int, ...]:
        """Returns a shape in blocks, where `axis` has units."""
        return tuple(
            1 if n == ROWS else n // self.sizes.of(width) if k == axis else n
            for k, n in enumerate(shape)
        )

    def in_blocks(self, value: BlockArray, axis: int, n: int) -> int:
        """Returns a number of elements along an axis as a number of blocks.

        Raises:
          UnsupportedError: if it is not a whole number of blocks.
        """
        unit = self.sizes.of(value.width) if axis == value.unit_axis else 1
        if n % unit:
            raise UnsupportedError("slice: got a cut within a vector of units")
        return n // unit
