"""The equations of a step that sum: products with matrices, sums over units, sums over rows.

In: an equation and the `Values` of values.py. A product over units becomes a node for each block of
its result. A sum over rows is the gradient of a weight: it becomes an `Outer` or a `Total` for each
block, which the kernel adds up over rows and steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jax.extend.core import JaxprEqn, Literal

from lstm_lab.recurrence.backends.codegen.flat import ROWS
from lstm_lab.recurrence.backends.codegen.graph import (
    Outer,
    Sum,
    Total,
    Units,
    UnsupportedError,
    WeightBlock,
    Width,
)
from lstm_lab.recurrence.backends.codegen.primitives import OVER_UNITS
from lstm_lab.recurrence.backends.codegen.values import BlockArray, Values, aval


def _reduce(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, axes = values[eqn.invars[0]], tuple(eqn.params["axes"])
    rows = [k for k in axes if aval(eqn.invars[0]).shape[k] == ROWS]
    if rows:
        _total(values, eqn, value, rows[0])
        return []
    kept = [k for k in range(value.blocks.ndim) if k not in axes]
    order = np.transpose(value.blocks, [*kept, *axes])
    groups = order.reshape(*order.shape[: len(kept)], -1)
    blocks = np.empty(groups.shape[:-1], np.int64)
    over_units = value.unit_axis in axes and value.unit_axis is not None
    for index in np.ndindex(*blocks.shape):
        parts = [int(k) for k in groups[index]]
        if over_units:
            op = OVER_UNITS[eqn.primitive.name]
            if any(values.graph.nodes[k].width == "ONE" for k in parts):
                raise UnsupportedError(f"{eqn.primitive.name}: got one number for all units")
            parts = [values.graph.add(op, (k,), "ONE") for k in parts]
        total = parts[0]
        for k in parts[1:]:
            op = "add" if eqn.primitive.name == "reduce_sum" else "max"
            total = values.graph.operate(op, (total, k))
        blocks[index] = total
    axis = None if over_units or value.unit_axis is None else kept.index(value.unit_axis)
    width: Width = "ONE" if axis is None else value.width
    return [BlockArray(blocks, axis, width)]


def _total(values: Values, eqn: JaxprEqn, value: BlockArray, rows: int) -> None:
    """The gradient of a vector of weights: a sum over the rows."""
    graph, axis = values.graph, value.unit_axis
    if axis is None or any(graph.nodes[int(k)].width == "ONE" for k in value.blocks.flat):
        raise UnsupportedError(f"{eqn.primitive.name}: got one number a row as a weight's gradient")
    if eqn.primitive.name != "reduce_sum":
        raise UnsupportedError(f"{eqn.primitive.name}: got a maximum over rows")
    shape = aval(eqn.invars[0]).shape
    kept = [k for k in range(len(shape)) if k != rows]
    # Units last in the array, so that they lie one after another.
    order = [*(k for k in kept if k != axis), axis]
    blocks = np.transpose(value.blocks, [rows, *order])[0]
    for index in np.ndindex(*blocks.shape):
        place = WeightBlock(len(graph.sums), index, -1, len(order) - 1)
        graph.totals.append(Total(int(blocks[index]), place))
    summed = tuple(kept.index(k) for k in eqn.params["axes"] if k != rows)
    back = tuple(order.index(k) for k in kept)
    units: Units = tuple(value.width if k == axis else "" for k in order)
    graph.sums.append(Sum(tuple(shape[k] for k in order), units, back, summed))


# ---- products


class _Axes(NamedTuple):
    """The axes of one side of a product."""

    contracted: tuple[int, ...]
    batch: tuple[int, ...]
    free: tuple[int, ...]


def _axes(eqn: JaxprEqn, side: int) -> _Axes:
    contracted, batch = (
        tuple(int(k) for k in axes[side]) for axes in eqn.params["dimension_numbers"]
    )
    ndim = len(aval(eqn.invars[side]).shape)
    free = tuple(k for k in range(ndim) if k not in (*contracted, *batch))
    return _Axes(contracted, batch, free)


# An axis of a product's result: of the batch, or a free one of one side, with its number there.
Axis = tuple[str, int]


def _at(ndim: int, batch: Sequence[int], free: str, index: dict[Axis, int]) -> list[int]:
    """Returns the coordinates of one side for coordinates of the result."""
    at = [0] * ndim
    for (kind, k), i in index.items():
        if kind == "batch":
            at[batch[k]] = i
        elif kind == free:
            at[k] = i
    return at


def _dot_general(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    of_rows = [v in values.flat.rows for v in eqn.invars]
    if all(of_rows):
        _outer(values, eqn)
        return []
    return _product(values, eqn, 0 if of_rows[0] else 1)


def _product(values: Values, eqn: JaxprEqn, side: int) -> list[BlockArray]:
    """A product of a vector of each row with a matrix."""
    value, matrix = values[eqn.invars[side]], eqn.invars[1 - side]
    mine, other = _axes(eqn, side), _axes(eqn, 1 - side)
    if value.unit_axis not in mine.contracted:
        raise UnsupportedError("dot_general: got a product that is not over units")
    row = other.contracted[mine.contracted.index(value.unit_axis)]
    shape = aval(matrix).shape
    column, width = values.sizes.units([shape[k] for k in other.free])
    if column is None or isinstance(matrix, Literal):
        raise UnsupportedError(f"dot_general: got a matrix {shape} without an axis of units")
    column = other.free[column]
    counts = [
        n // values.sizes.of(value.width if k == row else width if k == column else "ONE")
        for k, n in enumerate(shape)
    ]
    frees: list[list[Axis]] = [[], []]
    frees[side] = [("vector", k) for k in mine.free]
    frees[1 - side] = [("matrix", k) for k in other.free]
    axes: list[Axis] = [*(("batch", k) for k in range(len(mine.batch))), *frees[0], *frees[1]]
    length = {"batch": lambda k: counts[other.batch[k]], "matrix": lambda k: counts[k]}
    length["vector"] = lambda k: value.blocks.shape[k]
    blocks = np.empty([length[kind](k) for kind, k in axes], np.int64)
    number = values.flat.weights.index(matrix)
    for position in np.ndindex(*blocks.shape):
        index = dict(zip(axes, position, strict=True))
        pairs = []
        for inner in itertools.product(*(range(counts[k]) for k in other.contracted)):
            a = _at(value.blocks.ndim, mine.batch, "vector", index)
            m = _at(len(shape), other.batch, "matrix", index)
            for i, k_a, k_m in zip(inner, mine.contracted, other.contracted, strict=True):
                a[k_a] = m[k_m] = i
            place = WeightBlock(number, tuple(m), row, column)
            pairs.append((int(value.blocks[tuple(a)]), place))
        blocks[position] = _add_product(values, pairs, width)
    unit_axis = axes.index(("matrix", column))
    return [BlockArray(blocks, unit_axis, width)]


def _add_product(values: Values, pairs: list[tuple[int, WeightBlock]], width: Width) -> int:
    graph = values.graph
    # A gradient that is known to be zero needs no product.
    pairs = [(k, place) for k, place in pairs if graph.value(k) != 0.0]
    if not pairs:
        return graph.constant(0.0)
    if any(graph.nodes[k].width == "ONE" for k, _ in pairs):
        raise UnsupportedError("dot_general: got one number for all units")
    sources, places = zip(*pairs, strict=True)
    return graph.add("product", sources, width, places)


class _Side(NamedTuple):
    """One of the two arrays whose product over the rows is the gradient of a matrix."""

    name: str
    value: BlockArray
    shape: tuple[int, ...]
    axes: _Axes

    @property
    def unit_axis(self) -> int:
        """The axis of its units."""
        assert self.value.unit_axis is not None
        return self.value.unit_axis


def _outer(values: Values, eqn: JaxprEqn) -> None:
    """The gradient of a matrix: a product of two arrays over the rows."""
    graph = values.graph
    sides = []
    for side, v in enumerate(eqn.invars):
        value, own, lengths = values[v], _axes(eqn, side), aval(v).shape
        if [lengths[k] for k in own.contracted] != [ROWS] or value.unit_axis not in own.free:
            raise UnsupportedError("dot_general: got a sum over rows that is no matrix of units")
        sides.append(_Side(f"side {side}", value, lengths, own))
    # Along the columns lies what is known only in the backward pass.
    columns = int(any(graph.uses_gradient[int(k)] for k in sides[1].value.blocks.flat))
    source, gradient = sides[1 - columns], sides[columns]
    # The gradient's units last, so that they lie one after another.
    last = [*(k for k in gradient.axes.free if k != gradient.unit_axis), gradient.unit_axis]
    axes: list[Axis] = [
        *(("batch", k) for k in range(len(source.axes.batch))),
        *((source.name, k) for k in source.axes.free),
        *((gradient.name, k) for k in last),
    ]
    row = axes.index((source.name, source.unit_axis))
    for index, s, g in _pairs(axes, source, gradient):
        if 0.0 not in (graph.value(s), graph.value(g)):
            place = WeightBlock(len(graph.sums), index, row, len(axes) - 1)
            graph.outers.append(Outer(s, g, place))
    wanted: list[Axis] = [
        *(("batch", k) for k in range(len(source.axes.batch))),
        *((side.name, k) for side in sides for k in side.axes.free),
    ]
    shape = tuple(
        source.shape[source.axes.batch[k]]
        if kind == "batch"
        else next(side for side in sides if side.name == kind).shape[k]
        for kind, k in axes
    )
    units: Units = tuple(
        source.value.width if k == row else gradient.value.width if k == len(axes) - 1 else ""
        for k in range(len(axes))
    )
    graph.sums.append(Sum(shape, units, tuple(axes.index(axis) for axis in wanted)))


def _pairs(
    axes: list[Axis], source: _Side, gradient: _Side
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Returns the coordinates of every block of a gradient, and the nodes of its two vectors."""

    def length(kind: str, k: int) -> int:
        if kind == "batch":
            return source.value.blocks.shape[source.axes.batch[k]]
        return (source if kind == source.name else gradient).value.blocks.shape[k]

    def node(side: _Side, index: dict[Axis, int]) -> int:
        at = _at(side.value.blocks.ndim, side.axes.batch, side.name, index)
        return int(side.value.blocks[tuple(at)])

    for position in np.ndindex(*(length(*axis) for axis in axes)):
        index = dict(zip(axes, position, strict=True))
        yield position, node(source, index), node(gradient, index)


SUMS: dict[str, Callable[[Values, JaxprEqn], list[BlockArray]]] = {
    "dot_general": _dot_general,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
}
