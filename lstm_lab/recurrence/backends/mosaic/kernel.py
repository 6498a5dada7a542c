"""The kernel of a layer: one launch for all time steps, with the weights in shared memory.

One block of 128 threads computes `ROWS` rows of one member over all steps. Its matrices are copied
to shared memory once. The carried values stay in registers, and the inputs of the next step are
requested before the products of this one, so that they arrive meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from lstm_lab.recurrence.backends.mosaic.plan import Layout, StepPlan
from lstm_lab.recurrence.backends.mosaic.step import Step, Value

ROWS = 16  # rows of the batch in a tile: the fewest whose bfloat16 numbers fill a swizzled line


class Arrays(NamedTuple):
    """The inputs of a kernel; each has a leading axis of members.

    Attributes:
      given: what each step reads [M,T,units,B].
      added: what is added to the first carried values before each step [M,T,units,B], or None.
      carried: before the first step [M,units,B].
      is_real, is_reset: flags [M,T,B] as int32, or None.
      vectors: vectors of weights [M,units].
      matrices: of each product [M,pieces,units,units].
    """

    given: jax.Array
    added: jax.Array | None
    carried: jax.Array
    is_real: jax.Array | None
    is_reset: jax.Array | None
    vectors: jax.Array
    matrices: tuple[jax.Array, ...]


class Static(NamedTuple):
    """What the text of a kernel depends on besides the shapes of its arrays.

    Attributes:
      plan: the step.
      backward: whether the carried values are gradients.
      reverse: whether the loop starts at the last step.
      hidden: how many carried nodes are h; they come first.
      rounds: whether h is rounded to bfloat16 at the end of a step.
      interpret: whether to simulate the kernel on the CPU.
    """

    plan: StepPlan
    backward: bool
    reverse: bool
    hidden: int
    rounds: bool
    interpret: bool


def run(static: Static, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    """Runs a kernel.

    Returns:
      What each step stores [M,T,units,B], and the carried values after the last step [M,units,B].
    """
    plan = static.plan
    M, T, _, B = arrays.given.shape
    leaves, tree = jax.tree.flatten(arrays)
    pieces = arrays.matrices[0].shape[1] if arrays.matrices else 1
    scratch: list[Any] = []
    for product in plan.products:
        rows, contracted = plan.matrix_shape(product)
        for _ in range(pieces):
            scratch += [
                plgpu.SMEM((rows, contracted), jnp.bfloat16),
                plgpu.SMEM((contracted, ROWS), jnp.bfloat16),
            ]
    kernel = plgpu.kernel(
        partial(_body, static, tree, pieces, T),
        out_type=(
            jax.ShapeDtypeStruct((M, T, plan.stored.rows, B), jnp.float32),
            jax.ShapeDtypeStruct((M, plan.carried.rows, B), jnp.float32),
        ),
        scratch_types=[*scratch, plgpu.Barrier()],
        grid=(M, B // ROWS),
        grid_names=("member", "rows"),
        compiler_params=plgpu.CompilerParams(
            lowering_semantics=plgpu.LoweringSemantics.Warpgroup
        ),
        interpret=_interpreter() if static.interpret else False,
    )
    return kernel(*leaves)


def _interpreter() -> Any:
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    return InterpretGPUParams(detect_races=True)


def _body(static: Static, tree: Any, pieces: int, T: int, *refs: Any) -> None:
    """The kernel: refs of the inputs, of the two outputs, of shared memory, and a barrier."""
    plan = static.plan
    inputs: Arrays = jax.tree.unflatten(tree, refs[: tree.num_leaves])
    stored, final, *scratch, barrier = refs[tree.num_leaves :]
    member = lax.axis_index("member")
    rows = pl.ds(lax.axis_index("rows") * ROWS, ROWS)
    load = partial(_load, static.interpret)
    smem = [scratch[k : k + 2 * pieces] for k in range(0, len(scratch), 2 * pieces)]
    matrices, operands = [s[::2] for s in smem], [s[1::2] for s in smem]
    for matrix, copies in zip(inputs.matrices, matrices, strict=True):
        for piece, copy in enumerate(copies):
            plgpu.copy_gmem_to_smem(matrix.at[member, piece], copy, barrier)
            plgpu.barrier_wait(barrier)

    def tiles(ref: Any, layout: Layout, *index: Any) -> dict[int, Value]:
        """Loads the vectors of an array [units,B]."""
        return {
            k: load(ref, (*index, s.first if s.rows == 1 else pl.ds(s.first, s.rows), rows)).astype(
                jnp.float32
            )
            for k, s in layout.slots.items()
        }

    weights = {
        k: load(inputs.vectors, (member, pl.ds(s.first, s.rows)))
        if s.rows > 1
        else inputs.vectors[member, s.first]
        for k, s in plan.vectors.slots.items()
    }
    weights = {
        k: lax.broadcast_in_dim(v, (v.shape[0], ROWS), (0,)) if v.ndim else v
        for k, v in weights.items()
    }

    def at(i: Value) -> Value:
        return T - 1 - i if static.reverse else i

    added = Layout(dict(list(plan.carried.slots.items())[: static.hidden]), 0)

    def given(i: Value) -> Any:
        t = at(jnp.minimum(i, T - 1))
        values = list(tiles(inputs.given, plan.given, member, t).values())
        more = []
        if inputs.added is not None:
            more = list(tiles(inputs.added, added, member, t).values())
        return values, more, flags(t)

    def flags(t: Value) -> list[Value]:
        return [
            load(ref, (member, t, rows)) for ref in (inputs.is_real, inputs.is_reset) if ref is not None
        ]

    def step(i: Value, loop: Any) -> Any:
        carry, (values, more, masks) = loop
        following = given(i + 1)
        masks = iter([m != 0 for m in masks])
        is_real = next(masks) if inputs.is_real is not None else None
        is_reset = next(masks) if inputs.is_reset is not None else None
        one = Step(plan, ROWS, pieces, matrices, operands)
        one.values |= weights | dict(zip(plan.given.slots, values, strict=True))
        before = list(carry)
        if is_reset is not None and not static.backward:
            before = [_choose(is_reset, jnp.zeros_like(v), v) for v in before]
        new = [a + b for a, b in zip(before, more)] + before[len(more) :]
        if is_real is not None and static.backward:
            new = [_choose(is_real, v, jnp.zeros_like(v)) for v in new]
        one.values |= dict(zip(plan.carried.slots, new, strict=True))
        after = [one.tile(k) for k in plan.carry]
        after = [
            v.astype(jnp.bfloat16).astype(jnp.float32) if static.rounds and n < static.hidden else v
            for n, v in enumerate(after)
        ]
        if is_real is not None:
            after = [_choose(is_real, a, b) for a, b in zip(after, before, strict=True)]
        if is_reset is not None and static.backward:
            after = [_choose(is_reset, jnp.zeros_like(v), v) for v in after]
        for k, s in plan.stored.slots.items():
            value = after[plan.carry.index(k)] if k in plan.carry and not static.backward else one.tile(k)
            place = s.first if s.rows == 1 else pl.ds(s.first, s.rows)
            stored.at[member, at(i), place, rows][...] = value
        return after, following

    first = list(tiles(inputs.carried, plan.carried, member).values())
    last, _ = lax.fori_loop(0, T, step, (first, given(0)))
    for value, s in zip(last, plan.carried.slots.values(), strict=True):
        final.at[member, pl.ds(s.first, s.rows), rows][...] = value


def _load(interpret: bool, ref: Any, index: Any) -> Value:
    """Loads an array from global memory. The interpreter has no `plgpu.load`."""
    return ref[index] if interpret else plgpu.load(ref, index, optimized=False)


def _choose(mask: Value, a: Value, b: Value) -> Value:
    """Chooses by row of the batch between two tiles."""
    return jnp.where(jnp.broadcast_to(mask, a.shape), a, b)
