"""The one entry to the recurrence, and its reference: `lax.scan` over one step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State

Backend = Literal["auto", "scan"]
BACKENDS: tuple[str, ...] = get_args(Backend)


class _Steps(NamedTuple):
    """What one time step reads, stacked over time; None where the caller gave none."""

    zx: jax.Array
    real_B: jax.Array | None
    reset_B: jax.Array | None
    noise: Any


def unroll(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State | None = None,
    *,
    lengths: jax.Array | None = None,
    resets: jax.Array | None = None,
    reverse: bool = False,
    noise: Any = None,
    trace: tuple[str, ...] = (),
    clamp: Mapping[str, float] | None = None,
    backend: Backend = "auto",
    precision: str | None = None,
) -> tuple[jax.Array, State] | tuple[jax.Array, State, dict[str, jax.Array]]:
    """Runs a cell over time.

    Chunks of time compose: a call on T steps equals one on the first T1 and one on the rest with
    the state carried (in reverse: the later chunk first, from a zero state where it began with a
    reset).

    Args:
      spec: the variant.
      params: the cell's parameters.
      x_TBD: inputs [T,B,D], time-major; their dtype is the compute dtype.
      state: the state to start from (in reverse: from the end), or None for zero.
      lengths: real steps of each row [B], 0..T. Later steps leave the row's state untouched, give
        zero outputs, and are never read, whatever they hold. None means T.
      resets: [T,B], true where a new segment starts: the state is zero before that step, and in
        reverse before the step ahead of it.
      reverse: run from each row's last real step to the first; outputs stay at their places.
      noise: arrays with a leading time axis that `pointwise` takes step by step, or None.
      trace: names of gates and state fields to return over time.
      clamp: gates pinned to values, by name.
      backend: "scan", the reference; "auto" chooses.
      precision: precision of matrix products, as in `jax.default_matmul_precision`;
        None keeps the one in force.

    Returns:
      Hidden states h [T,B,H], the final state, and with `trace` a dict of [T,B,H] arrays.

    Raises:
      ValueError: for an unknown backend or name, an empty sequence, or a wrong shape.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: found {backend!r}, allowed {', '.join(BACKENDS)}")
    _check_shapes(x_TBD, lengths, resets)
    if clamp and "clamp" not in inspect.signature(spec.cell.pointwise).parameters:
        raise ValueError("clamp: this cell's pointwise takes no clamp")
    with jax.default_matmul_precision(precision) if precision else nullcontext():
        h_TBH, final, traced = _scan(
            spec, params, x_TBD, state, lengths, resets, reverse, noise, tuple(trace), clamp
        )
    return (h_TBH, final, traced) if trace else (h_TBH, final)


def _check_shapes(x_TBD: jax.Array, lengths: jax.Array | None, resets: jax.Array | None) -> None:
    if x_TBD.ndim != 3 or x_TBD.shape[0] == 0:
        raise ValueError(f"x_TBD: found shape {x_TBD.shape}, allowed [T,B,D] with T of 1 or more")
    T, B, _ = x_TBD.shape
    for name, array, shape in (("lengths", lengths, (B,)), ("resets", resets, (T, B))):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name}: found shape {array.shape}, allowed {shape}")


def _scan(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State | None,
    lengths: jax.Array | None,
    resets: jax.Array | None,
    reverse: bool,
    noise: Any,
    trace: tuple[str, ...],
    clamp: Mapping[str, float] | None,
) -> tuple[jax.Array, State, dict[str, jax.Array]]:
    """The reference: plain autodiff through `lax.scan` over project, recur, pointwise, emit."""
    cell = spec.cell
    real_TB = None
    if lengths is not None:
        real_TB = jnp.arange(x_TBD.shape[0])[:, None] < lengths[None]
        # Padding may hold anything, and a NaN times a zero cotangent would reach the weights.
        x_TBD = jnp.where(real_TB[..., None], x_TBD, jnp.zeros_like(x_TBD))
    zx = cell.project(spec, params, x_TBD)
    if state is None:
        state = cell.initial(spec, params, zx[0], x_TBD.dtype)
    keywords = {"clamp": clamp} if clamp else {}

    def body(state: State, now: _Steps) -> tuple[State, tuple[jax.Array, dict[str, jax.Array]]]:
        if now.reset_B is not None:
            state = _select(now.reset_B, jax.tree.map(jnp.zeros_like, state), state)
        zh = cell.recur(spec, params, now.zx, state)
        new, gates = cell.pointwise(spec, params, now.zx, zh, state, now.noise, **keywords)
        new = cell.emit(spec, params, new)
        h, seen = new.h, _traced(trace, new, gates)
        if now.real_B is not None:
            new = _select(now.real_B, new, state)
            h, seen = _select(now.real_B, (h, seen), jax.tree.map(jnp.zeros_like, (h, seen)))
        return new, (h, seen)

    steps = _Steps(zx, real_TB, _effective_resets(resets, real_TB, reverse), noise)
    final, (h_TBH, traced) = jax.lax.scan(body, state, steps, reverse=reverse)
    return h_TBH, final, traced


def _effective_resets(
    resets: jax.Array | None, real_TB: jax.Array | None, reverse: bool
) -> jax.Array | None:
    """Returns where the state is zeroed before a step, in the order of the scan."""
    if resets is None:
        return None
    resets = resets.astype(bool)
    if real_TB is not None:
        resets = resets & real_TB
    if reverse:
        resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    return resets


def _select(mask_B: jax.Array, chosen: Any, other: Any) -> Any:
    """Chooses between two pytrees of [B,...] arrays row by row."""
    return jax.tree.map(
        lambda a, b: jnp.where(jnp.expand_dims(mask_B, range(1, a.ndim)), a, b), chosen, other
    )


def _traced(
    names: tuple[str, ...], state: State, gates: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    fields = {k: v for k, v in state._asdict().items() if v is not None}
    allowed = {**fields, **gates}
    for name in names:
        if name not in allowed:
            raise ValueError(f"trace: found {name!r}, allowed {', '.join(allowed)}")
    return {name: allowed[name] for name in names}
