"""The one entry to the recurrence, and the reference: `lax.scan`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State, advance
from lstm_lab.recurrence.backends import associative, cudnn, fused, native
from lstm_lab.recurrence.dispatch import Backend, CallSignature, batched_members, resolve
from lstm_lab.recurrence.steps import Steps, before, effective_resets, hide_padding, select

EVERYTHING = ("*",)  # what `trace` may be, for all gates and state fields of a cell


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
      noise: arrays with a leading axis of T steps, or of 1 where all steps share them, that the
        cell takes step by step; None for a cell without regularisers.
      trace: names of gates and state fields to return over time, or EVERYTHING.
      clamp: gates pinned to values, by name.
      backend: "scan", the reference; "fused", a backward pass arranged by hand, reverse mode and
        first order only; "native", compiled for the CPU; "associative", for linear cells; "cudnn",
        for the plain LSTM on NVIDIA's GPUs; "auto" takes the fastest, see `choice.choose`.
      precision: precision of matrix products, as in `jax.default_matmul_precision`;
        None keeps the one in force.

    Returns:
      Hidden states h [T,B,H], the final state, and with `trace` a dict of [T,B,H] arrays.

    Raises:
      ValueError: for an unknown backend or name, an empty sequence, or a wrong shape.
    """
    _check_shapes(x_TBD, lengths, resets)
    trace = tuple(trace)
    B, D = x_TBD.shape[1:]
    call = CallSignature(
        spec,
        x_TBD.dtype,
        B,
        D,
        params["wx"].shape[-1] if "wx" in params else D,
        noise=noise is not None,
        trace=bool(trace),
        clamp=bool(clamp),
        resets=resets is not None,
        members=batched_members(),
    )
    backend = resolve(backend, call)
    cell, T = spec.cell, x_TBD.shape[0]
    x_TBD, real_TB = hide_padding(x_TBD, lengths)
    resets = effective_resets(resets, real_TB, reverse)
    noise = jax.tree.map(lambda a: jnp.broadcast_to(a, (T, *a.shape[1:])), noise)
    with jax.default_matmul_precision(precision) if precision else nullcontext():
        if state is None:
            zx = cell.project(spec, params, x_TBD[0])
            state = cell.initial(spec, params, zx, x_TBD.dtype)
        if backend == "native":
            assert isinstance(spec, native.Served)
            return native.unroll(spec, params, x_TBD, state, lengths, resets, reverse)
        if backend == "cudnn":
            h_TBH, ((final,),) = cudnn.unroll([[params]], x_TBD, [[state]], lengths, reverse)
            return h_TBH, final
        if backend == "associative":
            return associative.unroll(spec, params, x_TBD, state, real_TB, resets, reverse)
        if backend == "fused":
            return fused.unroll(spec, params, x_TBD, state, real_TB, resets, reverse, noise, clamp)
        steps = Steps(cell.project(spec, params, x_TBD), real_TB, resets, noise)
        h_TBH, final, traced = _scan(spec, params, steps, state, reverse, trace, clamp)
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
    steps: Steps,
    state: State,
    reverse: bool,
    trace: tuple[str, ...],
    clamp: Mapping[str, float] | None,
) -> tuple[jax.Array, State, dict[str, jax.Array]]:
    """The reference: plain autodiff through `lax.scan` over the step."""
    keywords = {"clamp": clamp} if clamp else {}

    def body(state: State, now: Steps) -> tuple[State, tuple[jax.Array, dict[str, jax.Array]]]:
        state = before(now, state)
        new, gates = advance(spec, params, now.zx, state, now.noise, **keywords)
        h, seen = new.h, _traced(trace, new, gates)
        if now.real_B is not None:
            new = select(now.real_B, new, state)
            h, seen = select(now.real_B, (h, seen), jax.tree.map(jnp.zeros_like, (h, seen)))
        return new, (h, seen)

    final, (h_TBH, traced) = jax.lax.scan(body, state, steps, reverse=reverse)
    return h_TBH, final, traced


def _traced(
    names: tuple[str, ...], state: State, gates: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    fields = {k: v for k, v in state._asdict().items() if v is not None}
    allowed = {**fields, **gates}
    if names == EVERYTHING:
        return allowed
    for name in names:
        if name not in allowed:
            raise ValueError(f"trace: found {name!r}, allowed {', '.join(allowed)}")
    return {name: allowed[name] for name in names}
