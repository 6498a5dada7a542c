"""What a kernel computes at each time step, as data.

In: the graph of a cell (codegen/graph.py), and which of its nodes are known before the step,
carried and stored. Out: `StepPlan`: where vectors lie in arrays, and which products share one
matrix.

A block of the kernel computes a tile: the units of `ROWS` rows of the batch [units,ROWS], which lie
one after another in memory. Tensor cores take 64 rows of one factor and as few as 8 columns of the
other, and a layer has more units than a block has rows of the batch.
So the kernel computes W^T h. Read next: weights.py for its matrices, step.py for the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.recurrence.backends.codegen.graph import Graph, Node, Width
from lstm_lab.recurrence.backends.codegen.layer import LayerPlan

TILE = 64  # units that one instruction of the tensor cores takes
# Rows of the batch that a block computes: in bfloat16 32 bytes, the narrowest operand that Mosaic
# GPU arranges in shared memory for the tensor cores.
ROWS = 16


class Slot(NamedTuple):
    """The place of a vector in a tile.

    Attributes:
      first: its first row.
      rows: its number of rows, whole tiles; 1 for one value per row of the batch.
      units: how many of the rows it uses.
    """

    first: int
    rows: int
    units: int


@dataclass(frozen=True)
class TileLayout:
    """Vectors one after another in a tile.

    Attributes:
      slots: the place of each node's vector.
    """

    slots: Mapping[int, Slot]

    @property
    def rows(self) -> int:
        """Rows of the tile; at least one, since no kernel takes an empty array."""
        return max(sum(slot.rows for slot in self.slots.values()), 1)

    def leading(self, count: int) -> TileLayout:
        """Returns the layout of the first vectors alone."""
        return TileLayout(dict(list(self.slots.items())[:count]))

    def pack(self, values: Mapping[int, jax.Array], like: Sequence[int]) -> jax.Array:
        """Returns arrays [...,B,units] by node as one array [...,tiles,rows,ROWS].

        Args:
          values: the arrays.
          like: the leading axes [...,B], for a layout without vectors.
        """
        parts = [
            jnp.swapaxes(
                split_rows(
                    jnp.pad(values[k], [(0, 0)] * len(like) + [(0, slot.rows - slot.units)]),
                    len(like) - 1,
                ),
                -1,
                -2,
            )
            for k, slot in self.slots.items()
        ]
        if not parts:
            return jnp.zeros((*like[:-1], -(-like[-1] // ROWS), 1, ROWS), jnp.float32)
        return jnp.concatenate(parts, -2)

    def unpack(self, array: jax.Array, B: int) -> dict[int, jax.Array]:
        """Returns arrays [...,B,units] by node, the inverse of `pack`."""
        by_row = jnp.swapaxes(array, -1, -2)
        by_row = by_row.reshape(*by_row.shape[:-3], -1, by_row.shape[-1])[..., :B, :]
        return {
            k: by_row[..., slot.first : slot.first + slot.units] for k, slot in self.slots.items()
        }


class MatrixProduct(NamedTuple):
    """Products that read the same vectors, and so are one product with one matrix.

    Attributes:
      sources: nodes that lie one after another along the contracted axis.
      nodes: nodes of the results, one after another.
    """

    sources: tuple[int, ...]
    nodes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class StepPlan:
    """One direction of a step.

    Attributes:
      layer: the cell at the sizes of a layer.
      carried: the values that the loop carries, before the step.
      given: what is read from memory at each step.
      carry: nodes of the carried values after the step, in the order of the slots of `carried`.
      stored: what is written to memory at each step; the state under its nodes in `carried`.
      vectors: vectors of weights, and single numbers.
      products: all products.
    """

    layer: LayerPlan
    carried: TileLayout
    given: TileLayout
    carry: tuple[int, ...]
    stored: TileLayout
    vectors: TileLayout
    products: tuple[MatrixProduct, ...]

    def node(self, k: int) -> Node:
        """Returns a node of the graph."""
        return self.layer.kernel.graph.nodes[k]

    def units(self, k: int) -> int:
        """Returns the length of a node's vector."""
        return self.layer.units(self.node(k).width)

    def rows(self, k: int) -> int:
        """Returns the rows that a node's vector takes in a tile."""
        return padded(self.units(k), self.node(k).width)

    def matrix_shape(self, product: MatrixProduct) -> tuple[int, int]:
        """Returns the shape of a product's matrix [units of results,units of sources]."""
        rows, contracted = (
            sum(map(self.rows, nodes)) for nodes in (product.nodes, product.sources)
        )
        return rows, contracted

    def shared_memory(self, pieces: int) -> int:
        """Returns the bytes of shared memory that matrices and their operands take."""
        shapes = [self.matrix_shape(product) for product in self.products]
        return sum(2 * pieces * contracted * (rows + ROWS) for rows, contracted in shapes)


def split_rows(x: jax.Array, axis: int) -> jax.Array:
    """Returns an array whose axis of rows [B] is split into [tiles,ROWS], padded with zeros."""
    B = x.shape[axis]
    missing = [(0, -B % ROWS if k == axis else 0) for k in range(x.ndim)]
    return jnp.pad(x, missing).reshape(*x.shape[:axis], -1, ROWS, *x.shape[axis + 1 :])


def padded(units: int, width: Width) -> int:
    """Returns a number of units rounded up to whole tiles; one value per row needs none."""
    return 1 if width == "ONE" else -(-units // TILE) * TILE


def make_plan(
    layer: LayerPlan,
    *,
    carried: Sequence[int],
    known: Sequence[int],
    carry: Sequence[int],
    stored: Sequence[int],
) -> StepPlan:
    """Plans a step that computes `carry` and `stored`.

    Args:
      layer: the cell at the sizes of a layer.
      carried: nodes that the loop carries, before the step.
      known: nodes that memory holds; the step reads those that it needs.
      carry: nodes of the carried values after the step, in the same order.
      stored: nodes that the step writes to memory.
    """
    nodes = layer.kernel.graph.nodes
    needed: set[int] = set()
    waiting = [*carry, *stored]
    while waiting:
        k = waiting.pop()
        if k not in needed:
            needed.add(k)
            waiting += () if k in known or k in carried else nodes[k].args
    layout, after = _layout(layer, carried), dict(zip(carried, carry, strict=True))
    groups: dict[tuple[int, ...], list[int]] = {}
    for k in sorted(needed.difference(known)):
        if nodes[k].op == "product":
            groups.setdefault(nodes[k].args, []).append(k)
    return StepPlan(
        layer,
        layout,
        _layout(layer, [k for k in known if k in needed]),
        tuple(after[k] for k in layout.slots),
        _layout(layer, stored),
        _layout(layer, [k for k in sorted(needed) if nodes[k].op == "weight"]),
        tuple(MatrixProduct(sources, tuple(results)) for sources, results in groups.items()),
    )


def inputs_of(graph: Graph, op: str) -> list[int]:
    """Returns the nodes of one kind of inputs, such as `state`, in the order of their arrays."""
    return sorted(
        (k for k, node in enumerate(graph.nodes) if node.op == op),
        key=lambda k: graph.nodes[k].detail,
    )


def _layout(layer: LayerPlan, nodes: Iterable[int]) -> TileLayout:
    """Places vectors: whole tiles first, so that each starts at a multiple of a tile."""
    widths = [node.width for node in layer.kernel.graph.nodes]
    slots, first = dict[int, Slot](), 0
    for k in sorted(dict.fromkeys(nodes), key=lambda k: widths[k] == "ONE"):
        units = layer.units(widths[k])
        slots[k] = Slot(first, padded(units, widths[k]), units)
        first += slots[k].rows
    return TileLayout(slots)
