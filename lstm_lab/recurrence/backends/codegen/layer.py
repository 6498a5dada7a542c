"""A kernel at the sizes of one layer: what XLA computes around it, and where its blocks lie.

In: a kernel's key and the shapes of a layer's parameters. Out: `LayerPlan`, which computes the
arrays of weights that the kernel reads, and parameter gradients from the sums that it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.recurrence.backends.codegen.emit import Kernel, Key, generate, step_shapes
from lstm_lab.recurrence.backends.codegen.flat import FlatStep, evaluate, read, trace
from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError, WeightBlock, Width
from lstm_lab.recurrence.backends.codegen.values import aval
from lstm_lab.utils.types import PyTree

ALIGNMENT = 16  # floats to which the kernel rounds what it saves


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """A kernel at the sizes of a layer.

    Attributes:
      kernel: the kernel, which holds for every size.
      flat: the step, traced with this layer's sizes.
      H, R: units of a vector of H (of one head), and of R.
    """

    kernel: Kernel
    flat: FlatStep
    H: int
    R: int

    def weights(self, params: PyTree, noise: PyTree) -> list[jax.Array]:
        """Computes what the step reads and no row changes."""
        values = self._before(params, noise)
        return [jnp.asarray(read(values, v), jnp.float32) for v in self.flat.weights]

    def d_params(self, params: PyTree, noise: PyTree, sums: Sequence[jax.Array]) -> PyTree:
        """Computes parameter gradients from the sums over rows and steps."""
        values = self._before(params, noise)
        for v, array, made in zip(self.flat.sums, sums, self.kernel.graph.sums, strict=True):
            array = jnp.transpose(array, made.order)
            values[v] = array.sum(made.summed) if made.summed else array
        evaluate(self.flat.after, values)
        return jax.tree.map(lambda v: read(values, v), self.flat.results.d_params)

    def _before(self, params: PyTree, noise: PyTree) -> dict[Any, Any]:
        values: dict[Any, Any] = dict(self.flat.constants)
        inputs = self.flat.inputs
        values |= dict(zip(jax.tree.leaves(inputs.params), jax.tree.leaves(params), strict=True))
        for v, mask in zip(jax.tree.leaves(inputs.noise), jax.tree.leaves(noise), strict=True):
            if v not in self.flat.rows:
                values[v] = mask[0]  # one mask for all rows and steps
        evaluate(self.flat.before, values)
        return values

    def units(self, width: Width) -> int:
        """Returns the number of units of a vector."""
        return {"H": self.H, "R": self.R, "ONE": 1}[width]

    @cached_property
    def saved(self) -> int:
        """Floats that the forward pass saves for each row and step."""
        return sum(-(-self.units(w) // ALIGNMENT) * ALIGNMENT for w in self.kernel.saved)

    @cached_property
    def sum_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the sums over rows and steps."""
        sizes = self.kernel.graph.sizes
        return [
            tuple(
                n // sizes.of(unit) * self.units(unit) if unit else n
                for n, unit in zip(made.shape, made.units, strict=True)
            )
            for made in self.kernel.graph.sums
        ]

    @cached_property
    def places(self) -> np.ndarray:
        """Where blocks lie in arrays, four numbers each, in the order of kernel/cell.cc."""
        kernel, graph = self.kernel, self.kernel.graph
        arrays = [aval(v).shape for v in self.flat.weights]
        rows: list[tuple[int, ...]] = []
        for one in (kernel.forward, kernel.backward):
            for product in one.products:
                for term in product.terms:
                    shape = arrays[term.place.array]
                    rows.append(self._place(term.place, shape, term.width, product.width))
        for node in kernel.vectors:
            number, block = node.detail
            place = WeightBlock(number, block, -1, len(block) - 1)
            rows.append(self._place(place, arrays[number], "ONE", node.width))
        for outer in graph.outers:
            widths = graph.nodes[outer.source].width, graph.nodes[outer.gradient].width
            rows.append(self._place(outer.place, self.sum_shapes[outer.place.array], *widths))
        for total in graph.totals:
            shape, width = self.sum_shapes[total.place.array], graph.nodes[total.node].width
            rows.append(self._place(total.place, shape, "ONE", width))
        return np.array(rows, np.int64).reshape(-1)

    def _place(
        self, place: WeightBlock, shape: tuple[int, ...], row: Width, column: Width
    ) -> tuple[int, int, int, int]:
        """Returns the number of the array, an offset, and the strides of rows and columns."""
        strides = [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
        offset = 0
        for axis, block in enumerate(place.block):
            width: Width = "ONE"
            if axis == place.row:
                width = row
            elif axis == place.column:
                width = column
            offset += block * self.units(width) * strides[axis]
        down = strides[place.row] if place.row >= 0 else 0
        across = strides[place.column] if strides else 1
        return place.array, offset, down, across


@lru_cache(maxsize=256)
def plan(key: Key, params: tuple[Any, ...], tree: Any, D: int) -> LayerPlan:
    """Returns the plan of a layer.

    Args:
      key: what the kernel's text depends on.
      params: shapes and dtypes of the parameters, as leaves of `tree`.
      tree: the structure of the parameters.
      D: input features.

    Raises:
      UnsupportedError: if there is no kernel for the cell.
    """
    kernel = generate(key)
    shapes = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*leaf) for leaf in params])
    without = step_shapes(key._replace(noise=None), shapes, D, 0, 0)
    R = without.state.h.shape[-1]
    hidden = R if kernel.graph.sizes.R == 0 else _hidden(kernel, without.state)
    flat = trace(key.spec, step_shapes(key, shapes, D, R, hidden), dict(key.clamp))
    heads = len(kernel.state[0]) if kernel.graph.sizes.R == 0 else 1
    result = LayerPlan(kernel, flat, hidden // heads, R)
    made = [len(flat.weights), len(flat.sums)]
    expected = [kernel.weights, len(kernel.graph.sums)]
    if made != expected:
        raise UnsupportedError("cell: its equations differ at this number of units")
    return result


def _hidden(kernel: Kernel, state: Any) -> int:
    """Returns the number of hidden units of a cell whose h has another number."""
    for blocks, field in zip(kernel.state, jax.tree.leaves(state), strict=True):
        if blocks[0] == "H":
            return field.shape[-1] // len(blocks)
    raise UnsupportedError("cell: no field of its state has H units")
