"""The one entry to the recurrence, the choice of a backend, and the reference: `lax.scan`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State, advance
from lstm_lab.cells.gates import CellSpec
from lstm_lab.recurrence import associative, cudnn, fused, native
from lstm_lab.recurrence.steps import Steps, before, effective_resets, select

Backend = Literal["auto", "scan", "fused", "native", "associative", "cudnn"]
BACKENDS: tuple[str, ...] = get_args(Backend)
EVERYTHING = ("*",)  # what `trace` may be, for all gates and state fields of a cell
FUSED_UNITS = 256  # most hidden units with which fused is the faster of the two on CPU


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
        for the plain LSTM on NVIDIA's GPUs; "auto" chooses, see `choose`.
      precision: precision of matrix products, as in `jax.default_matmul_precision`;
        None keeps the one in force.

    Returns:
      Hidden states h [T,B,H], the final state, and with `trace` a dict of [T,B,H] arrays.

    Raises:
      ValueError: for an unknown backend or name, an empty sequence, or a wrong shape.
    """
    _check_shapes(x_TBD, lengths, resets)
    trace = tuple(trace)
    backend = _resolved(backend, spec, params, x_TBD.dtype, noise, trace, clamp)
    if backend == "cudnn" and resets is not None:
        raise ValueError("backend: 'cudnn' cannot serve this; resets: cudnn takes none")
    cell, T = spec.cell, x_TBD.shape[0]
    real_TB = None
    if lengths is not None:
        real_TB = jnp.arange(T)[:, None] < lengths[None]
        # Padding may hold anything, and a NaN times a zero cotangent would reach the weights.
        x_TBD = jnp.where(real_TB[..., None], x_TBD, jnp.zeros_like(x_TBD))
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
            return cudnn.unroll(params, x_TBD, state, lengths, reverse)
        if backend == "associative":
            return associative.unroll(spec, params, x_TBD, state, real_TB, resets, reverse)
        if backend == "fused":
            return fused.unroll(spec, params, x_TBD, state, real_TB, resets, reverse, noise, clamp)
        steps = Steps(cell.project(spec, params, x_TBD), real_TB, resets, noise)
        h_TBH, final, traced = _scan(spec, params, steps, state, reverse, trace, clamp)
    return (h_TBH, final, traced) if trace else (h_TBH, final)


def _resolved(
    backend: Backend,
    spec: Spec,
    params: Params,
    dtype: Any,
    noise: Any,
    trace: tuple[str, ...],
    clamp: Mapping[str, float] | None,
) -> Backend:
    """Returns the backend to call; raises ValueError where there is none, or it cannot serve."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: found {backend!r}, allowed {', '.join(BACKENDS)}")
    if clamp and "clamp" not in inspect.signature(spec.cell.pointwise).parameters:
        raise ValueError("clamp: this cell's pointwise takes no clamp")
    if backend == "auto":
        hidden = params["wh"].shape[-1] if "wh" in params else 0
        return choose(spec, dtype, hidden, noise=noise, trace=trace, clamp=clamp)
    reason = refusal(backend, spec, dtype, noise=noise, trace=trace, clamp=clamp)
    if reason:
        raise ValueError(f"backend: {backend!r} cannot serve this; {reason}")
    return backend


def choose(
    spec: Spec,
    dtype: Any,
    hidden: int,
    *,
    noise: Any = None,
    trace: tuple[str, ...] = (),
    clamp: Mapping[str, float] | None = None,
) -> Backend:
    """Returns the backend that `auto` takes: the fastest that serves the call.

    Native on CPU, associative for linear cells, fused where it was measured to be faster than scan
    on CPU, and elsewhere for its memory; docs/benchmarks.md has the measurements. cuDNN only where
    it is asked for: it was not measured yet.
    """
    among: tuple[Backend, ...] = ("native", "associative")
    for backend in among:
        if refusal(backend, spec, dtype, noise=noise, trace=trace, clamp=clamp) is None:
            return backend
    algebra = isinstance(spec, CellSpec) and not spec.projection
    pays = jax.default_backend() != "cpu" or (algebra and hidden <= FUSED_UNITS)
    return "fused" if pays and refusal("fused", spec, dtype, trace=trace) is None else "scan"


def refusal(
    backend: Backend,
    spec: Spec,
    dtype: Any,
    *,
    noise: Any = None,
    trace: tuple[str, ...] = (),
    clamp: Mapping[str, float] | None = None,
) -> str | None:
    """Returns why a backend cannot serve a call, naming the field, or None where it can."""
    if backend == "scan":
        return None
    if trace:
        return f"trace: {backend} returns no gates"
    if backend == "fused":
        return None
    if noise is not None:
        return f"noise: {backend} takes none"
    if clamp:
        return f"clamp: {backend} pins no gates"
    match backend:
        case "native":
            return native.refusal(spec, dtype)
        case "cudnn":
            return cudnn.refusal(spec, dtype)
        case _:
            return associative.refusal(spec)


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
