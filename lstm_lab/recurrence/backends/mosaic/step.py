"""One time step inside a kernel: the nodes of a plan on tiles [units,rows of the batch].

In: a `StepPlan`, the values that are there, and the weights in shared memory. Out: the values that
are wanted. A product goes through shared memory: the vectors that it reads are stored there, and
the tensor cores add up W^T h in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from lstm_lab.recurrence.backends.mosaic.plan import PAIRS, Product, StepPlan, cut, padded

Value = Any  # a tile [units,rows], numbers of rows [rows], or one number


def _log1p(x: Value) -> Value:
    # The rounding of 1 + x cancels in the quotient.
    u = 1.0 + x
    return jnp.where(u == 1.0, x, jnp.log(u) * (x / jnp.where(u == 1.0, 1.0, u - 1.0)))


def _expm1(x: Value) -> Value:
    u = jnp.exp(x)
    is_small = jnp.abs(x) < 0.5
    safe = jnp.where(is_small & (u != 1.0), u, 2.0)
    near = jnp.where(u == 1.0, x, (safe - 1.0) * (x / jnp.log(safe)))
    return jnp.where(is_small, near, u - 1.0)


# The primitives of codegen/primitives.py that Mosaic GPU has, and those that it needs written out.
ELEMENTWISE: dict[str, Callable[..., Value]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "abs": jnp.abs,
    "sign": lambda a: jnp.where(a > 0.0, 1.0, jnp.where(a < 0.0, -1.0, 0.0)),
    "square": lambda a: a * a,
    "one_minus_square": lambda a: 1.0 - a * a,
    "sqrt": lambda a: a * lax.rsqrt(jnp.maximum(a, 1e-38)),
    "rsqrt": lax.rsqrt,
    "logistic": lambda a: 1.0 / (1.0 + jnp.exp(-a)),
    "tanh": jnp.tanh,
    "exp": jnp.exp,
    "expm1": _expm1,
    "log": jnp.log,
    "log1p": _log1p,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": lax.erf,
    "clamp": lambda low, a, high: jnp.minimum(jnp.maximum(a, low), high),
    "select_n": lambda which, a, b: jnp.where(which, b, a),
    "convert_element_type": lambda a: jnp.where(a, 1.0, 0.0),
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: ~a,
    "is_finite": lambda a: (a - a) == 0.0,
}
OTHERS = frozenset(("integer_pow", "size", "constant", "product", "row_sum", "row_max"))


@dataclass
class Step:
    """The values of one step, computed as they are asked for.

    Attributes:
      plan: the step.
      rows: rows of the batch in a tile.
      pieces: bfloat16 numbers that stand for one float32 number in a product.
      matrices: of each product, its pieces in shared memory [pieces,units,units].
      operands: of each product, room for the pieces of the vectors that it reads.
      values: by node; those that are there before the step to begin with.
    """

    plan: StepPlan
    rows: int
    pieces: int
    matrices: Sequence[Any]
    operands: Sequence[Any]
    values: dict[int, Value] = field(default_factory=dict)

    def value(self, k: int) -> Value:
        """Returns the value of a node."""
        if k not in self.values:
            self._compute(k)
        return self.values[k]

    def tile(self, k: int) -> Value:
        """Returns the value of a node as a tile, or as numbers of rows if its width is ONE."""
        units = padded(self.plan.units(k))
        shape = (self.rows,) if units == 1 else (units, self.rows)
        value = jnp.asarray(self.value(k), jnp.float32)
        return value if value.shape == shape else jnp.broadcast_to(value, shape)

    def _compute(self, k: int) -> None:
        node = self.plan.graph.nodes[k]
        match node.op:
            case "constant":
                self.values[k] = node.detail
            case "size":
                width, times = node.detail
                self.values[k] = float(times * self.plan.layer.units(width))
            case "product":
                number = next(n for n, p in enumerate(self.plan.products) if k in p.nodes)
                self._multiply(self.plan.products[number], number)
            case "row_sum":
                self.values[k] = jnp.sum(self._without_padding(node.args[0], 0.0), axis=0)
            case "row_max":
                self.values[k] = jnp.max(self._without_padding(node.args[0], -math.inf), axis=0)
            case "integer_pow":
                self.values[k] = lax.integer_pow(self.value(node.args[0]), node.detail)
            case name:
                self.values[k] = ELEMENTWISE[name](*(self.value(a) for a in node.args))

    def _without_padding(self, k: int, fill: float) -> Value:
        """Returns a tile whose padded units hold a number that changes no sum or maximum."""
        units, tile = self.plan.units(k), self.tile(k)
        if units == tile.shape[0]:
            return tile
        unit = lax.broadcasted_iota(jnp.int32, tile.shape, 0)
        return jnp.where(unit < units, tile, fill)

    def _multiply(self, product: Product, number: int) -> None:
        """Computes all results of a product."""
        matrix, operand = self.matrices[number], self.operands[number]
        # A warp may still multiply what the step before has stored here.
        plgpu.commit_smem()
        first = 0
        for k in product.sources:
            tile = self._without_padding(k, 0.0)
            for piece in range(self.pieces):
                part = tile if piece == self.pieces - 1 else cut(tile)
                operand[piece].at[pl.ds(first, tile.shape[0])][...] = part.astype(jnp.bfloat16)
                tile = tile - part
            first += tile.shape[0]
        plgpu.commit_smem()
        rows = self.plan.matrix_shape(product)[0]

        def add_up(sums: Any) -> Value:
            for a, b in PAIRS[self.pieces]:
                plgpu.wgmma(sums, matrix[a], operand[b])
            return sums[...]

        sums = pl.run_scoped(add_up, plgpu.ACC((rows, self.rows), jnp.float32))
        first = 0
        for k in product.nodes:
            units = padded(self.plan.units(k))
            self.values[k] = sums[first : first + units]
            first += units
