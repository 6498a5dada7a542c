"""What a kernel computes at each time step, as data.

In: the graph of a cell (codegen/graph.py), the nodes that are given and those that are wanted. Out:
`StepPlan`: where the vectors of units lie in the kernel's arrays, and which products share one
matrix. Arrays of vectors are [units,B]: units lie along the rows of a tile, as in `W^T h`, because
the tensor cores take 64 rows of a weight matrix and as few as 8 columns. Read step.py next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.recurrence.backends.codegen.graph import Graph, Width
from lstm_lab.recurrence.backends.codegen.layer import LayerPlan

TILE = 64  # rows of a matrix that one instruction of a tensor core takes
# Products of the pieces of two float32 numbers, by the number of pieces; the smallest first.
PAIRS = {1: ((0, 0),), 2: ((0, 1), (1, 0), (0, 0)), 3: ((0, 2), (2, 0), (1, 1), (0, 1), (1, 0), (0, 0))}


class Slot(NamedTuple):
    """The place of a vector in an array [units,B]: its first row, and its number of rows."""

    first: int
    rows: int


class Product(NamedTuple):
    """Products that read the same vectors, and so are one product with one matrix.

    Attributes:
      sources: nodes that lie one after another along the contracted axis.
      nodes: nodes of the results, one after another.
    """

    sources: tuple[int, ...]
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Vectors one after another in an array [units,B], each padded to whole tiles.

    Attributes:
      slots: the place of each node.
      rows: of the array.
    """

    slots: Mapping[int, Slot]
    rows: int


@dataclass(frozen=True, eq=False)
class StepPlan:
    """One direction of a step.

    Attributes:
      layer: the cell at the sizes of a layer.
      carried: nodes of the values before the step, which the loop carries.
      given: what is read from memory at each step.
      carry: nodes of the carried values after the step, in the order of `carried`.
      stored: what is written to memory at each step.
      vectors: vectors of weights, and single numbers (width ONE).
      products: all products.
    """

    layer: LayerPlan
    carried: Layout
    given: Layout
    carry: tuple[int, ...]
    stored: Layout
    vectors: Layout
    products: tuple[Product, ...]

    @property
    def graph(self) -> Graph:
        """The nodes."""
        return self.layer.kernel.graph

    def units(self, node: int) -> int:
        """Returns the length of a node's vector."""
        return self.layer.units(self.graph.nodes[node].width)

    def matrix_shape(self, product: Product) -> tuple[int, int]:
        """Returns the shape of a product's matrix, padded to whole tiles."""
        return tuple(  # type: ignore[return-value]
            sum(padded(self.units(k)) for k in nodes) for nodes in (product.nodes, product.sources)
        )


def padded(units: int) -> int:
    """Returns a number of units rounded up to whole tiles; a single number needs none."""
    return units if units == 1 else -(-units // TILE) * TILE


def make_plan(
    layer: LayerPlan,
    *,
    carried: Sequence[int],
    given: Sequence[int],
    carry: Sequence[int],
    stored: Sequence[int],
) -> StepPlan:
    """Plans a step that computes `carry` and `stored` from `carried` and `given`.

    Args:
      layer: the cell at the sizes of a layer.
      carried, given: nodes whose values are there before the step.
      carry, stored: nodes that the step computes.
    """
    graph = layer.kernel.graph
    known = {*carried, *given}
    needed: set[int] = set()
    waiting = [*carry, *stored]
    while waiting:
        k = waiting.pop()
        if k not in needed and k not in known:
            needed.add(k)
            waiting += graph.nodes[k].args
    groups: dict[tuple[int, ...], list[int]] = {}
    for k in sorted(needed):
        if graph.nodes[k].op == "product":
            groups.setdefault(graph.nodes[k].args, []).append(k)
    vectors = [k for k in sorted(needed) if graph.nodes[k].op == "weight"]
    return StepPlan(
        layer,
        _layout(layer, carried),
        _layout(layer, given),
        tuple(carry),
        _layout(layer, stored),
        _layout(layer, vectors),
        tuple(Product(sources, tuple(nodes)) for sources, nodes in groups.items()),
    )


def _layout(layer: LayerPlan, nodes: Iterable[int]) -> Layout:
    """Places nodes: whole tiles first, so that all of them start at a multiple of a tile."""
    graph = layer.kernel.graph
    slots, first = dict[int, Slot](), 0
    for k in sorted(dict.fromkeys(nodes), key=lambda k: graph.nodes[k].width == "ONE"):
        rows = padded(layer.units(graph.nodes[k].width))
        slots[k] = Slot(first, rows)
        first += rows
    return Layout(slots, first)


# ---- arrays of a plan


def matrices(plan: StepPlan, weights: Sequence[jax.Array], pieces: int) -> list[jax.Array]:
    """Returns the matrix of each product as bfloat16 pieces [pieces,units of results,units]."""
    nodes = plan.graph.nodes
    results = []
    for product in plan.products:
        rows = []
        for k in product.nodes:
            blocks = []
            for source, place in zip(product.sources, nodes[k].detail, strict=True):
                widths = {place.row: nodes[source].width, place.column: nodes[k].width}
                block = _block(plan, weights[place.array], place.block, widths)
                block = block.T if place.row < place.column else block
                missing = [(0, padded(n) - n) for n in block.shape]
                blocks.append(jnp.pad(block, missing))
            rows.append(jnp.concatenate(blocks, 1))
        results.append(split(jnp.concatenate(rows, 0), pieces))
    return results


def vectors(plan: StepPlan, weights: Sequence[jax.Array]) -> jax.Array:
    """Returns all vectors of weights, one after another; at least one number."""
    parts = [jnp.zeros((0,), jnp.float32)]
    for k, slot in plan.vectors.slots.items():
        number, block = plan.graph.nodes[k].detail
        vector = _block(plan, weights[number], block, {len(block) - 1: plan.graph.nodes[k].width})
        parts.append(jnp.pad(vector.reshape(-1), (0, slot.rows - vector.size)))
    joined = jnp.concatenate(parts)
    return joined if joined.size else jnp.zeros((1,), jnp.float32)


def _block(
    plan: StepPlan, array: jax.Array, block: tuple[int, ...], widths: Mapping[int, Width]
) -> jax.Array:
    """Returns a block of an array of weights; axes without units are left out."""
    index = tuple(
        slice(n * (unit := plan.layer.units(widths[axis])), (n + 1) * unit) if axis in widths else n
        for axis, n in enumerate(block)
    )
    return array[index]


def split(x: jax.Array, pieces: int) -> jax.Array:
    """Returns bfloat16 pieces [pieces,...] that add up to x.

    All but the last are cut off by bits, not rounded: XLA may leave out a rounding to bfloat16 and
    back, and the rest would be zero.
    """
    parts = []
    for _ in range(pieces - 1):
        parts.append(cut(x))
        x = x - parts[-1]
    return jnp.stack([part.astype(jnp.bfloat16) for part in (*parts, x)])


def cut(x: jax.Array) -> jax.Array:
    """Returns x with the upper 8 bits of its mantissa, in float32."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32) & jnp.int32(-65536)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
