"""One time step inside a kernel: the nodes of a plan on tiles [units,rows of the batch].

In: a `StepPlan`, the values that are there before the step, and the weights in shared memory. Out:
the values that are asked for. A product goes through shared memory: the vectors that it reads are
stored there, and the tensor cores add up W^T h in registers. Read kernel.py next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from lstm_lab.recurrence.backends.mosaic.memory import ROW_VALUES_LAYOUT, TILE_LAYOUT
from lstm_lab.recurrence.backends.mosaic.plan import ROWS, StepPlan
from lstm_lab.recurrence.backends.mosaic.primitives import ELEMENTWISE, Value, power
from lstm_lab.recurrence.backends.mosaic.weights import PAIRS, cut


@dataclass(eq=False)
class Step:
    """The values of one step, computed as they are asked for.

    Attributes:
      plan: the step.
      matrices: of each product, the pieces of its matrix in shared memory [results,sources].
      operands: of each product, room for the pieces of the vectors that it reads [sources,ROWS].
      values: by node; to begin with, those that are there before the step.
      interpret: whether the kernel is simulated.
    """

    plan: StepPlan
    matrices: Sequence[Sequence[Any]]
    operands: Sequence[Sequence[Any]]
    values: dict[int, Value]
    interpret: bool

    def tile(self, k: int) -> Value:
        """Returns the value of a node as a tile, or as one value per row if its width is ONE.

        A flag is 1 or 0.
        """
        rows, value = self.plan.rows(k), jnp.asarray(self._value(k))
        value = jnp.where(value, 1.0, 0.0) if value.dtype == bool else value.astype(jnp.float32)
        if value.ndim == 0:
            return jnp.full((ROWS,) if rows == 1 else (rows, ROWS), value)
        return value

    def _value(self, k: int) -> Value:
        if k not in self.values:
            self._compute(k)
        return self.values[k]

    def _compute(self, k: int) -> None:
        """Computes a node and what it needs; a product, all that share its matrix."""
        node = self.plan.node(k)
        match node.op:
            case "constant":
                self.values[k] = node.detail
            case "size":
                width, times = node.detail
                self.values[k] = float(times * self.plan.layer.units(width))
            case "product":
                self._multiply(next(n for n, p in enumerate(self.plan.products) if k in p.nodes))
            case "row_sum":
                total = jnp.sum(self._without_padding(node.args[0], 0.0), axis=0)
                self.values[k] = self._hint(total, ROW_VALUES_LAYOUT)
            case "row_max":
                largest = jnp.max(self._without_padding(node.args[0], -math.inf), axis=0)
                self.values[k] = self._hint(largest, ROW_VALUES_LAYOUT)
            case "integer_pow":
                self.values[k] = power(self._value(node.args[0]), node.detail)
            case name:
                values = [self._value(a) for a in node.args]
                if node.width != "ONE":
                    rows = self.plan.rows(k)
                    values = [spread(v, rows) if jnp.ndim(v) == 1 else v for v in values]
                self.values[k] = ELEMENTWISE[name](*values)

    def _multiply(self, number: int) -> None:
        product = self.plan.products[number]
        matrix, operand = self.matrices[number], self.operands[number]
        # Another warp may still be multiplying what the step before has stored here.
        plgpu.commit_smem()
        first = 0
        for k in product.sources:
            rest = self._without_padding(k, 0.0)
            for n, piece in enumerate(operand):
                part = cut(rest) if n < len(operand) - 1 else rest
                piece.at[pl.ds(first, rest.shape[0])][...] = part.astype(jnp.bfloat16)
                rest = rest - part
            first += rest.shape[0]
        plgpu.commit_smem()  # the tensor cores read what all warps have stored

        def add_up(sums: Any) -> Value:
            for a, b in PAIRS[len(operand)]:
                plgpu.wgmma(sums, matrix[a], operand[b])
            return sums[...]

        rows, _ = self.plan.matrix_shape(product)
        sums = pl.run_scoped(add_up, plgpu.WGMMAAccumulatorRef((rows, ROWS), jnp.float32))
        first = 0
        for k in product.nodes:
            units = self.plan.rows(k)
            self.values[k] = self._hint(sums[first : first + units], TILE_LAYOUT)
            first += units

    def _without_padding(self, k: int, fill: float) -> Value:
        """Returns a tile whose padded units hold a number that changes no sum or maximum."""
        units, tile = self.plan.units(k), self.tile(k)
        if units == tile.shape[0]:
            return tile
        return jnp.where(lax.broadcasted_iota(jnp.int32, tile.shape, 0) < units, tile, fill)

    def _hint(self, value: Value, layout: Any) -> Value:
        """Names the layout of a value; the search for the others needs some that are known."""
        return value if self.interpret else plgpu.layout_cast(value, layout)


def spread(values: Value, units: int) -> Value:
    """Returns one value per row [ROWS] as a tile [units,ROWS].

    In one operation: the search for layouts fails at the array [1,ROWS] that broadcasting makes.
    """
    return lax.broadcast_in_dim(values, (units, ROWS), (1,))
