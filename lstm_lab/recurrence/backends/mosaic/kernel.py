"""The kernel of a layer: one launch for all time steps, with its weights in shared memory.

A block of 128 threads computes `ROWS` rows of one member. It copies its matrices into shared memory
once. Carried values stay in registers. What a step reads is prefetched one step ahead if registers
allow, so that it arrives during the products.

In: `Static`, and `Arrays` in the layouts of its plan. Out: what each step stores, and the carried
values after the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from lstm_lab.recurrence.backends.codegen.primitives import FLAGS
from lstm_lab.recurrence.backends.mosaic.memory import (
    ROW_VALUES_LAYOUT,
    TILE_LAYOUT,
    VECTOR_LAYOUT,
    load,
    store,
)
from lstm_lab.recurrence.backends.mosaic.plan import ROWS, Slot, StepPlan, TileLayout
from lstm_lab.recurrence.backends.mosaic.primitives import Value
from lstm_lab.recurrence.backends.mosaic.step import Step, spread

THREADS = 128  # of a block: one warpgroup
PREFETCH_REGISTERS = 64  # of a thread, at most, for what the next step reads


class Arrays(NamedTuple):
    """The inputs of a kernel, without the axis of members, which comes first in the kernel.

    Attributes:
      given: what each step reads [T,tiles,units,ROWS].
      added: what is added to h before each step [T,tiles,units,ROWS], or None.
      carried: values before the first step [tiles,units,ROWS].
      is_real: 1 where a step of a row is real, else 0 [T,tiles,ROWS]; or None.
      is_reset: 1 where the state is zero before the step [T,tiles,ROWS]; or None.
      vectors: vectors of weights [units].
      matrices: of each product [pieces,results,sources].
    """

    given: jax.Array
    added: jax.Array | None
    carried: jax.Array
    is_real: jax.Array | None
    is_reset: jax.Array | None
    vectors: jax.Array
    matrices: tuple[jax.Array, ...]


class Static(NamedTuple):
    """What a kernel depends on besides the shapes of its arrays.

    Attributes:
      plan: the step.
      transposed: whether the step is the transpose of the cell's, and carries gradients.
      reverse: whether the loop begins with the last step.
      hidden: how many of the carried nodes are h; they come first.
      rounds: whether h is rounded to bfloat16 after each step.
      interpret: whether to simulate the kernel on the CPU.
    """

    plan: StepPlan
    transposed: bool
    reverse: bool
    hidden: int
    rounds: bool
    interpret: bool


def run(static: Static, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    """Runs a kernel; `vmap` adds an axis of blocks.

    Returns:
      What each step stores [T,tiles,units,ROWS], and the carried values after the last step
      [tiles,units,ROWS].
    """
    stored, last = _run_members(static, jax.tree.map(lambda a: a[None], arrays))
    return stored[0], last[0]


def _run_members(static: Static, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    @custom_vmap
    def call(arrays: Arrays) -> tuple[jax.Array, jax.Array]:
        return _launch(static, arrays)

    @call.def_vmap
    def _(size: int, in_batched: list[Any], arrays: Arrays) -> Any:
        def join(a: jax.Array, is_batched: bool) -> jax.Array:
            a = a if is_batched else jnp.broadcast_to(a, (size, *a.shape))
            return a.reshape(-1, *a.shape[2:])

        results = _run_members(static, jax.tree.map(join, arrays, in_batched[0]))
        return jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), results), (True, True)

    return call(arrays)


def _launch(static: Static, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    """Launches one block for each member and tile of rows."""
    plan, (M, T, tiles, *_) = static.plan, arrays.given.shape
    leaves, tree = jax.tree.flatten(arrays)
    scratch: list[Any] = []
    for product, matrix in zip(plan.products, arrays.matrices, strict=True):
        _, pieces, rows, contracted = matrix.shape
        assert (rows, contracted) == plan.matrix_shape(product)
        scratch.append([plgpu.SMEM((rows, contracted), jnp.bfloat16)] * pieces)
        scratch.append([plgpu.SMEM((contracted, ROWS), jnp.bfloat16)] * pieces)
    copies = sum(matrix.shape[1] for matrix in arrays.matrices)
    leaves_of_scratch, tree_of_scratch = jax.tree.flatten(scratch)

    def persistent_layer(*refs: Any) -> None:
        inputs, outputs = refs[: len(leaves)], refs[len(leaves) : len(leaves) + 2]
        memory, barrier = refs[len(leaves) + 2 : -1], refs[-1]
        loop = _Loop(static, T, jax.tree.unflatten(tree, inputs), *outputs)
        loop.run(jax.tree.unflatten(tree_of_scratch, memory), barrier)

    return plgpu.kernel(
        persistent_layer,
        out_type=(
            jax.ShapeDtypeStruct((M, T, tiles, plan.stored.rows, ROWS), jnp.float32),
            jax.ShapeDtypeStruct((M, tiles, plan.carried.rows, ROWS), jnp.float32),
        ),
        scratch_types=[*leaves_of_scratch, plgpu.Barrier(num_arrivals=max(copies, 1))],
        grid=(M, tiles),
        grid_names=("member", "tile"),
        compiler_params=plgpu.CompilerParams(
            # The layouts of all values are found from those of loads and products.
            lowering_semantics=plgpu.LoweringSemantics.Warpgroup,
            # A barrier around each load and store is not needed: no thread reads what another
            # writes, except through a product, and `Step` has the barriers around these.
            unsafe_no_auto_barriers=True,
        ),
        interpret=_interpreter() if static.interpret else False,
    )(*leaves)


def _interpreter() -> Any:
    # Late and private: JAX 0.10 does not export it.
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    return InterpretGPUParams(detect_races=True)


class _Read(NamedTuple):
    """What a step reads: tiles, and flags of rows."""

    given: list[Value]
    added: list[Value]
    real: Value
    reset: Value


# From the carried values that enter a step, and what it reads, to its values.
Evaluate = Callable[[list[Value], _Read], Step]


class _Loop:
    """The loop over time, inside a kernel."""

    def __init__(self, static: Static, T: int, arrays: Arrays, stored: Any, last: Any) -> None:
        self.static, self.plan, self.T, self.arrays = static, static.plan, T, arrays
        self.stored, self.last = stored, last
        self.member = lax.axis_index("member")
        self.tile = lax.axis_index("tile")

    def run(self, memory: list[list[Any]], barrier: Any) -> None:
        """Computes all steps.

        Args:
          memory: shared memory of each product: for the pieces of its matrix, and of its operand.
          barrier: counts the matrices that have arrived.
        """
        plan, matrices, operands = self.plan, memory[::2], memory[1::2]
        for source, copies in zip(self.arrays.matrices, matrices, strict=True):
            for piece, copy in enumerate(copies):
                part: Any = source.at[self.member, piece]
                plgpu.copy_gmem_to_smem(part, copy, barrier)
        if matrices:
            plgpu.barrier_wait(barrier)
        weights = {k: self._weight(slot) for k, slot in plan.vectors.slots.items()}

        def values(entering: list[Value], now: _Read) -> Step:
            known = dict(zip(plan.carried.slots, entering, strict=True))
            for k, value in zip(plan.given.slots, now.given, strict=True):
                known[k] = value != 0.0 if plan.node(k).op in FLAGS else value
            return Step(plan, matrices, operands, known | weights, self.static.interpret)

        # Above this limit, registers would spill into local memory.
        rows = plan.given.rows + (0 if self.arrays.added is None else self.arrays.added.shape[3])
        prefetches = rows * ROWS <= PREFETCH_REGISTERS * THREADS

        def step(i: Value, loop: tuple[list[Value], Any]) -> tuple[list[Value], Any]:
            carried, now = loop
            now, following = (now, self._read(i + 1)) if prefetches else (self._read(i), None)
            one = self._transposed_step if self.static.transposed else self._step
            return one(values, carried, now, self._time(i)), following

        first = self._tiles(self.arrays.carried, plan.carried, self.member)
        start = (first, self._read(0) if prefetches else None)
        last, _ = lax.fori_loop(0, self.T, step, start)
        for value, slot in zip(last, plan.carried.slots.values(), strict=True):
            store(self.last, (self.member, self.tile, _place(slot)), value)

    def _step(self, values: Evaluate, carried: list[Value], now: _Read, t: Value) -> list[Value]:
        """Computes the cell's step: state in, state out."""
        before = _zero(now.reset, carried, when=True)
        step = values(before, now)
        after = [step.tile(k) for k in self.plan.carry]
        if self.static.rounds:
            hidden = self.static.hidden
            rounded = [v.astype(jnp.bfloat16).astype(jnp.float32) for v in after[:hidden]]
            after[:hidden] = rounded
        if now.real is not None:
            after = [_choose(now.real, a, b) for a, b in zip(after, before, strict=True)]
        # A stored state is the one after the step, as the next step finds it.
        self._store(step, t, dict(zip(self.plan.carried.slots, after, strict=True)))
        return after

    def _transposed_step(
        self, values: Evaluate, carried: list[Value], now: _Read, t: Value
    ) -> list[Value]:
        """Computes the transposed step: gradient of the new state in, that of the old one out."""
        sums = [a + b for a, b in zip(carried[: len(now.added)], now.added, strict=True)]
        step = values(_zero(now.real, sums + carried[len(sums) :], when=False), now)
        before = [step.tile(k) for k in self.plan.carry]
        if now.real is not None:
            before = [_choose(now.real, a, b) for a, b in zip(before, carried, strict=True)]
        self._store(step, t, {})
        return _zero(now.reset, before, when=True)

    def _store(self, step: Step, t: Value, states: dict[int, Value]) -> None:
        for k, slot in self.plan.stored.slots.items():
            value = states[k] if k in states else step.tile(k)
            store(self.stored, (self.member, t, self.tile, _place(slot)), value)

    def _time(self, i: Value) -> Value:
        return self.T - 1 - i if self.static.reverse else i

    def _read(self, i: Value) -> _Read:
        """Reads what a step needs; there is no step after the last, so that one is read again."""
        arrays, plan = self.arrays, self.plan
        t = self._time(jnp.minimum(i, self.T - 1))
        added = []
        if arrays.added is not None:
            hidden = plan.carried.leading(self.static.hidden)
            added = self._tiles(arrays.added, hidden, self.member, t)
        real, reset = (
            None
            if flags is None
            else self._load(flags, (self.member, t, self.tile), ROW_VALUES_LAYOUT)
            for flags in (arrays.is_real, arrays.is_reset)
        )
        return _Read(self._tiles(arrays.given, plan.given, self.member, t), added, real, reset)

    def _tiles(self, ref: Any, layout: TileLayout, *index: Value) -> list[Value]:
        """Reads the vectors of an array [...,tiles,units,ROWS]."""
        values = []
        for slot in layout.slots.values():
            layout_of_value = ROW_VALUES_LAYOUT if slot.rows == 1 else TILE_LAYOUT
            value = self._load(ref, (*index, self.tile, _place(slot)), layout_of_value)
            values.append(value.astype(jnp.float32))
        return values

    def _weight(self, slot: Slot) -> Value:
        """Reads a vector of weights as a tile whose columns are equal, or one number."""
        vectors = self.arrays.vectors
        place = (self.member, _place(slot))
        if slot.rows == 1:
            return vectors[place]
        return lax.broadcast_in_dim(
            self._load(vectors, place, VECTOR_LAYOUT), (slot.rows, ROWS), (0,)
        )

    def _load(self, ref: Any, index: Any, layout: Any) -> Value:
        return load(ref, index, layout, interpret=self.static.interpret)


def _place(slot: Slot) -> Any:
    """Returns the index of a vector in an array [...,rows,ROWS]; one value per row has no axis."""
    return slot.first if slot.rows == 1 else pl.ds(slot.first, slot.rows)


def _choose(flags: Value, chosen: Value, other: Value) -> Value:
    """Chooses between two tiles, or two values per row, by a flag for each row of the batch."""
    flags = spread(flags, chosen.shape[0]) if chosen.ndim > 1 else flags
    return jnp.where(flags != 0, chosen, other)


def _zero(flags: Value, tiles: list[Value], *, when: bool) -> list[Value]:
    """Sets rows of tiles to zero where their flag is `when`; no flags change nothing."""
    if flags is None:
        return tiles
    zeros = [jnp.zeros_like(tile) for tile in tiles]
    pairs = zip(zeros, tiles, strict=True) if when else zip(tiles, zeros, strict=True)
    return [_choose(flags, a, b) for a, b in pairs]
