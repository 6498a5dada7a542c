"""Weights as a kernel reads them: bfloat16 matrices for the tensor cores, and vectors.

A float32 number is a sum of bfloat16 numbers, its pieces. Two pieces, and three products of them,
are more precise than TF32, whose operands the tensor cores read in one order only, and take no more
memory; three pieces, and six products, have the precision of float32. XLA offers the same as
`BF16_BF16_F32_X3` and `_X6`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from lstm_lab.recurrence.backends.codegen.graph import Width
from lstm_lab.recurrence.backends.mosaic.plan import StepPlan

# Which pieces of two numbers are multiplied, by the number of pieces. The smallest products are
# added first.
PAIRS = {
    1: ((0, 0),),
    2: ((0, 1), (1, 0), (0, 0)),
    3: ((0, 2), (2, 0), (1, 1), (0, 1), (1, 0), (0, 0)),
}


def matrices(plan: StepPlan, weights: Sequence[jax.Array], pieces: int) -> tuple[jax.Array, ...]:
    """Returns the matrix of each product, transposed, as pieces [pieces,results,sources].

    Args:
      plan: the step.
      weights: the arrays that `LayerPlan.weights` computes.
      pieces: bfloat16 numbers that stand for one float32 number.
    """
    results = []
    for product in plan.products:
        rows = []
        for k in product.nodes:
            blocks = []
            for source, place in zip(product.sources, plan.node(k).detail, strict=True):
                widths = {place.row: plan.node(source).width, place.column: plan.node(k).width}
                block = _block(plan, weights[place.array], place.block, widths)
                block = block.T if place.row < place.column else block
                nodes = (k, source)
                missing = [
                    (0, plan.rows(node) - n) for node, n in zip(nodes, block.shape, strict=True)
                ]
                blocks.append(jnp.pad(block, missing))
            rows.append(jnp.concatenate(blocks, 1))
        results.append(_split(jnp.concatenate(rows, 0), pieces))
    return tuple(results)


def vectors(plan: StepPlan, weights: Sequence[jax.Array]) -> jax.Array:
    """Returns the vectors of weights one after another, as `plan.vectors` places them."""
    parts = [jnp.zeros((0,), jnp.float32)]
    for k, slot in plan.vectors.slots.items():
        number, block = plan.node(k).detail
        widths = {len(block) - 1: plan.node(k).width}
        vector = _block(plan, weights[number], block, widths).reshape(-1)
        parts.append(jnp.pad(vector, (0, slot.rows - slot.units)))
    joined = jnp.concatenate(parts)
    return jnp.pad(joined, (0, plan.vectors.rows - joined.size))


def _block(
    plan: StepPlan, array: jax.Array, block: Sequence[int], widths: Mapping[int, Width]
) -> jax.Array:
    """Returns a block of an array of weights, without the axes that have no units."""

    def part(axis: int, number: int) -> int | slice:
        if axis not in widths:
            return number
        units = plan.layer.units(widths[axis])
        return slice(number * units, (number + 1) * units)

    return array[tuple(part(axis, number) for axis, number in enumerate(block))]


def _split(x: jax.Array, pieces: int) -> jax.Array:
    """Returns bfloat16 pieces [pieces,...] that add up to x."""
    parts = []
    for _ in range(pieces - 1):
        parts.append(cut(x))
        x = x - parts[-1]
    return jnp.stack([part.astype(jnp.bfloat16) for part in (*parts, x)])


def cut(x: jax.Array) -> jax.Array:
    """Returns x with the upper 8 bits of its significand, a bfloat16 number, in float32.

    By its bits: XLA may leave out a rounding to bfloat16 and back, so that no rest would remain.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.int32) & jnp.int32(-65536)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
