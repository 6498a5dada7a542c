"""A backward pass written by hand, for every cell: weight gradients once per chunk of time.

The forward pass saves only the carried states, after each step. The backward pass goes through
chunks of time from the last: it recomputes the chunk's pre-activations, as two products over all
its steps; walks back through the steps, where only the state's gradient has to wait for the step
after; and gives the weights their gradients as one product for the chunk. So no array of [T,B,4H]
ever exists, and no weight gradient is accumulated at every step, as plain autodiff does.

Both passes are plain JAX, so that their own derivatives exist; forward mode alone needs `scan`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import GateValue, Params, Spec, State, recurrent_product
from lstm_lab.recurrence.steps import (
    Inputs,
    LoopShape,
    Options,
    Steps,
    Unrolled,
    apply_reset,
    matmul_precision,
    over_time,
    select,
    states_before,
)
from lstm_lab.utils.types import PyTree


class FusedStatic(NamedTuple):
    """The static arguments of a call, hashable for `custom_vjp`."""

    spec: Spec
    reverse: bool
    clamp: tuple[tuple[str, GateValue], ...]
    loop: LoopShape
    precision: str | None  # of products, in both passes


class Chunk(NamedTuple):
    """The inputs of a chunk: leaves [steps,B,...], or [chunks,steps,B,...] for all chunks."""

    x: jax.Array
    real: jax.Array | None
    reset: jax.Array | None
    noise: PyTree


# Parameters, inputs, the state before the first step, and those after each step.
Residuals = tuple[Params, Chunk, State, State]


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs a cell over time in chunks.

    Args:
      spec: the variant.
      params: the cell's parameters.
      inputs: as in `steps.Inputs`.
      state: the initial state.
      options: direction and clamped gates; a trace is not supported.

    Returns:
      Hidden states and the final state.
    """
    T, B, _ = inputs.x_TBD.shape
    is_real_TB = inputs.is_real_TB
    # Chunks of equal length: the last one of a fixed size could be almost all padding.
    chunks = -(-T // options.loop.chunk)
    steps = -(-T // chunks)
    missing = chunks * steps - T
    if missing and is_real_TB is None:
        is_real_TB = jnp.ones((T, B), bool)  # the pad below makes the added steps False

    def split(leaf: jax.Array) -> jax.Array:
        leaf = jnp.pad(leaf, ((0, missing), *((0, 0) for _ in leaf.shape[1:])))
        return leaf.reshape(chunks, steps, *leaf.shape[1:])

    chunked = Chunk(inputs.x_TBD, is_real_TB, inputs.is_reset_TB, over_time(inputs))
    clamp = tuple(sorted((options.clamp or {}).items()))
    static = FusedStatic(spec, options.reverse, clamp, options.loop, matmul_precision())
    h, final = _unroll(static, params, jax.tree.map(split, chunked), state)
    return Unrolled(h.reshape(chunks * steps, *h.shape[2:])[:T], final, {})


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unroll(
    static: FusedStatic, params: Params, inputs: Chunk, state: State
) -> tuple[jax.Array, State]:
    h, _, final = _forward(static, params, inputs, state)
    return h, final


def _forward(
    static: FusedStatic, params: Params, inputs: Chunk, state: State
) -> tuple[jax.Array, State, State]:
    """Returns the outputs, the state after each step, and the final state."""
    spec = static.spec

    def step(state: State, now: Steps) -> tuple[State, tuple[jax.Array | None, State]]:
        state = apply_reset(now, state)
        zh = recurrent_product(spec, params, now.zx, state, now.noise)
        new = _finish(static, params, now.zx, zh, state, now.noise)
        if now.is_real_B is None:
            return new, (None, new)
        # Stored here, although the state has it except in the padding: computed after the loop,
        # the steps of a GRU take twice as long on CPU, because XLA fuses them in another way.
        h = select(now.is_real_B, new.h, jnp.zeros_like(new.h))
        carried = select(now.is_real_B, new, state)
        return carried, (h, carried)

    def chunk(state: State, now: Chunk) -> tuple[State, tuple[jax.Array | None, State]]:
        zx = spec.cell.project(spec, params, now.x)
        steps = Steps(zx, now.real, now.reset, now.noise)
        with static.loop.scope():
            return jax.lax.scan(
                step, state, steps, reverse=static.reverse, unroll=static.loop.unrolled
            )

    final, (h, states) = jax.lax.scan(chunk, state, inputs, reverse=static.reverse)
    return states.h if h is None else h, states, final


def _finish(
    static: FusedStatic, params: Params, zx: jax.Array, zh: jax.Array, state: State, noise: PyTree
) -> State:
    """Computes the part of a step after the recurrent product: pointwise, emit."""
    keywords = {"clamp": dict(static.clamp)} if static.clamp else {}
    spec = static.spec
    state, _ = spec.cell.pointwise(spec, params, zx, zh, state, noise, **keywords)
    return spec.cell.emit(spec, params, state)


def _unroll_forward(
    static: FusedStatic, params: Params, inputs: Chunk, state: State
) -> tuple[tuple[jax.Array, State], Residuals]:
    with jax.default_matmul_precision(static.precision):
        h, states, final = _forward(static, params, inputs, state)
    return (h, final), (params, inputs, state, states)


def _unroll_backward(
    static: FusedStatic, residuals: Residuals, cotangents: tuple[jax.Array, State]
) -> tuple[Params, Chunk, State]:
    params, inputs, initial, states = residuals
    dh, d_final = cotangents

    def chunk(
        carry: tuple[Params, State], now: tuple[Chunk, State, State, jax.Array]
    ) -> tuple[tuple[Params, State], tuple[jax.Array, PyTree]]:
        d_params, d_state = carry
        inputs, start, after, dh = now
        states = states_before(start, after, inputs.reset, static.reverse)
        chunk_grads, d_state, d_inputs = _chunk_backward(
            static, params, inputs, states, dh, d_state
        )
        return (jax.tree.map(jnp.add, d_params, chunk_grads), d_state), d_inputs

    zeros = jax.tree.map(jnp.zeros_like, params)
    last = jax.tree.map(lambda a: a[:, 0 if static.reverse else -1], states)
    starts = states_before(initial, last, None, static.reverse)  # of the chunks
    with jax.default_matmul_precision(static.precision):
        (d_params, d_state), (dx, d_noise) = jax.lax.scan(
            chunk, (zeros, d_final), (inputs, starts, states, dh), reverse=not static.reverse
        )
    return d_params, Chunk(dx, None, None, d_noise), d_state


def _chunk_backward(
    static: FusedStatic, params: Params, now: Chunk, states: State, dh: jax.Array, d_state: State
) -> tuple[Params, State, tuple[jax.Array, PyTree]]:
    """Returns a chunk's gradients: of the parameters, the state before it, and x and noise."""
    spec = static.spec
    steps, B = dh.shape[:2]
    zx, project_pull = jax.vjp(partial(spec.cell.project, spec), params, now.x)

    def flat(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda a: a.reshape(steps * B, *a.shape[2:]), tree)

    def rows(noise: PyTree) -> PyTree:
        return flat(jax.tree.map(lambda a: jnp.broadcast_to(a, (steps, B, *a.shape[2:])), noise))

    flat_zx, flat_states, flat_noise = flat(zx), flat(states), rows(now.noise)
    # The pullbacks of the weights, over all steps of the chunk at once. They are linear in the
    # cotangents of zh and of the new state, which the loop below computes.
    zh, product_pull = jax.vjp(
        lambda p: recurrent_product(spec, p, flat_zx, flat_states, flat_noise), params
    )
    _, finish_pull = jax.vjp(
        lambda p: _finish(static, p, flat_zx, zh, flat_states, flat_noise), params
    )

    # The loop differentiates with respect to the state only: the weights are constants in it.
    def step(
        d_state: State, at: PyTree
    ) -> tuple[State, tuple[jax.Array, jax.Array, State, PyTree]]:
        zx, zh, state, noise, real_B, reset_B, dh = at
        d_new = d_state._replace(h=d_state.h + dh)
        if real_B is not None:
            d_new = select(real_B, d_new, jax.tree.map(jnp.zeros_like, d_new))
        _, pull = jax.vjp(partial(_finish, static, params), zx, zh, state, noise)
        dzx, dzh, d_before, d_noise = pull(d_new)
        _, pull = jax.vjp(partial(recurrent_product, spec, params), zx, state, noise)
        total = jax.tree.map(jnp.add, (dzx, d_before, d_noise), pull(dzh))
        dzx, d_before, d_noise = total
        if real_B is not None:
            d_before = select(real_B, d_before, d_state)
        if reset_B is not None:
            d_before = select(reset_B, jax.tree.map(jnp.zeros_like, d_before), d_before)
        return d_before, (dzx, dzh, d_new, d_noise)

    at = (zx, zh.reshape(steps, B, *zh.shape[1:]), states, now.noise, now.real, now.reset, dh)
    with static.loop.scope():
        d_state, (dzx, dzh, d_new, d_noise) = jax.lax.scan(
            step, d_state, at, reverse=not static.reverse, unroll=static.loop.unrolled
        )
    d_params, dx = project_pull(dzx)
    for grads in (*product_pull(flat(dzh)), *finish_pull(flat(d_new))):
        d_params = jax.tree.map(jnp.add, d_params, grads)
    return d_params, d_state, (dx, d_noise)


_unroll.defvjp(_unroll_forward, _unroll_backward)
