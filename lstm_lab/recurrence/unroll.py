"""Runs a cell over time: the entry point `unroll`.

The backend is chosen in dispatch.py. backends/scan.py is the reference; the step itself is
`cells.cell.advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.cell import GateValue, Params, Spec, State, check_spec, zero_state
from lstm_lab.recurrence.backends import associative, cudnn, fused, native, persistent, scan
from lstm_lab.recurrence.device import DeviceType, own_device_type
from lstm_lab.recurrence.dispatch import (
    Backend,
    CallSignature,
    batched_members,
    resolve,
    unusual_dtype,
)
from lstm_lab.recurrence.steps import (
    TIME_SCOPE,
    Inputs,
    Options,
    Unrolled,
    check_state,
    effective_resets,
    hide_padding,
    loop_shape,
    widths,
)
from lstm_lab.utils.types import PyTree


def unroll(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State | None = None,
    *,
    lengths: jax.Array | None = None,
    resets: jax.Array | None = None,
    reverse: bool = False,
    noise: PyTree = None,
    trace: tuple[str, ...] = (),
    clamp: Mapping[str, GateValue] | None = None,
    backend: Backend = "auto",
    precision: str | None = None,
    device: DeviceType | None = None,
) -> Unrolled:
    """Runs a cell over time.

    A call on T steps equals a call on the first T1 steps followed by a call on the rest with the
    carried state. In reverse the later chunk runs first.

    Args:
      spec: the variant.
      params: the cell's parameters.
      x_TBD: inputs [T,B,D], time-major; their dtype is the compute dtype.
      state: initial state (in reverse: at the end), or None for zero.
      lengths: real steps of each row [B], 0..T. Later steps do not change the row's state, give
        zero outputs, and are never read, even if they hold NaN. None means T.
      resets: [T,B], true where a new segment starts: at t, the state is zero before step t is
        computed, and in reverse before step t - 1.
      reverse: run from each row's last real step to the first; outputs keep their positions.
      noise: arrays with a leading axis of T steps, or of 1 if all steps share them, which the
        cell takes step by step; None for a cell without regularizers.
      trace: names of gates and state fields to return over time, or EVERYTHING.
      clamp: constant values for gates, by name; a number, or one for each unit [H], which only the
        backend "scan" takes.
      backend: "scan", the reference; "fused", a backward pass written by hand, without forward
        mode; "native", compiled for the CPU from the cell's equations, without forward mode;
        "associative", for linear cells; "cudnn", for the plain LSTM on NVIDIA's GPUs;
        "persistent", one kernel over time for NVIDIA's Hopper, without forward mode; "auto" takes
        the fastest, see `dispatch.choose`.
      precision: precision of matrix products, as in `jax.default_matmul_precision`;
        None keeps the one in force.
      device: the type of device for which the call is compiled, on which the choice of a backend
        and the steps per iteration depend; None stands for this process's.

    Returns:
      Hidden states h [T,B,H], the final state, and the traced arrays [T,B,H] by name.

    Raises:
      TypeError: for anything but a spec, such as a name.
      ValueError: for an unknown backend, gate or field; a backend that does not support the call;
        an empty sequence, a wrong shape, inputs of integers, parameters of another cell, a key in
        place of masks, or lengths that are no integers from 0 to T.

    Example:
      h_TBH, final, _ = unroll(spec, params, x_TBD)
      h_TBH, final, traced = unroll(spec, params, x_TBD, trace=("f", "c"), clamp={"i": 1.0})
      traced["f"].shape  # (5, 2, 16) for T=5, B=2 and H=16
    """
    lengths, resets = (None if a is None else jnp.asarray(a) for a in (lengths, resets))
    check_spec(spec)
    _check_arrays(x_TBD, lengths, resets)
    _check_noise(noise, x_TBD.shape[0])
    loop = loop_shape((device or own_device_type()).platform)
    options = Options(reverse, clamp, tuple(trace), loop)
    call = _signature(spec, params, x_TBD, state, noise, options)._replace(
        resets=resets is not None, device=device
    )
    with (
        jax.default_matmul_precision(precision) if precision else nullcontext(),
        jax.named_scope(TIME_SCOPE),
    ):
        # Inside, because the memory that a backend needs may depend on the precision.
        compute = _COMPUTE[resolve(backend, call)]
        x_TBD, is_real_TB = hide_padding(x_TBD, lengths)
        is_reset_TB = effective_resets(resets, is_real_TB, reverse)
        inputs = Inputs(x_TBD, lengths, is_real_TB, is_reset_TB, noise)
        if state is None:
            # From the hidden padding: a NaN in the first step would make the zero state NaN.
            state = zero_state(spec, params, x_TBD[0])
        return compute(spec, params, inputs, state, options)


# All backends have one signature: (spec, params, inputs, state, options) -> Unrolled.
_COMPUTE: dict[Backend, Callable[[Any, Params, Inputs, State, Options], Unrolled]] = {
    "scan": scan.unroll,
    "fused": fused.unroll,
    "native": native.unroll,
    "associative": associative.unroll,
    "cudnn": cudnn.unroll,
    "persistent": persistent.unroll,
}


def _signature(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State | None,
    noise: PyTree,
    options: Options,
) -> CallSignature:
    """Describes a call, as if without resets; H is that of the state, whose shapes it checks."""
    _, B, D = x_TBD.shape
    x_BD = jax.ShapeDtypeStruct((B, D), x_TBD.dtype)
    try:
        zero = jax.eval_shape(partial(zero_state, spec), params, x_BD)
    except KeyError as error:
        found = ", ".join(map(str, params))
        raise ValueError(f"params: got {found}; expected {error.args[0]}, too") from None
    if state is not None:
        check_state(state, zero)
    H, _ = widths(zero)
    _check_params(spec, params, D, H)
    return CallSignature(
        spec,
        x_TBD.dtype,
        B,
        D,
        H,
        noise=noise is not None,
        trace=bool(options.trace),
        clamp=tuple(sorted((options.clamp or {}).items())),
        members=batched_members(),
        unusual_dtype=unusual_dtype(x_TBD.dtype, params, zero if state is None else state, noise),
    )


@cache
def _parameter_shapes(spec: Spec, D: int, H: int) -> dict[str, tuple[int, ...]]:
    params = jax.eval_shape(lambda key: spec.cell.init(spec, key, D, H), jax.random.key(0))
    return _shapes(params)


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf)
        for path, leaf in leaves
    }


def _check_params(spec: Spec, params: Params, D: int, H: int) -> None:
    """Raises ValueError for parameters of another cell: kernels read memory without its shape."""
    expected, found = _parameter_shapes(spec, D, H), _shapes(params)
    if found.keys() != expected.keys():
        raise ValueError(f"params: got {', '.join(found)}, expected {', '.join(expected)}")
    for name, shape in found.items():
        if shape != expected[name]:
            raise ValueError(
                f"params.{name}: got shape {shape}, expected {expected[name]} for D={D} and H={H}"
            )


def _check_noise(noise: PyTree, T: int) -> None:
    for mask in jax.tree.leaves(noise):
        if jnp.issubdtype(mask.dtype, jax.dtypes.prng_key):
            raise ValueError(
                "noise: got a random key, expected the masks that cells.masks.draw gives"
            )
        if mask.ndim == 0 or mask.shape[0] not in (1, T):
            raise ValueError(
                f"noise: got an array of shape {mask.shape}, expected a leading axis of {T} or 1"
            )


def _check_arrays(x_TBD: jax.Array, lengths: jax.Array | None, resets: jax.Array | None) -> None:
    if x_TBD.ndim != 3 or x_TBD.shape[0] == 0:
        raise ValueError(f"x_TBD: got shape {x_TBD.shape}, expected [T,B,D] with T of 1 or more")
    # An integer input would make the whole state an integer: tanh would give zeros.
    if not jnp.issubdtype(x_TBD.dtype, jnp.floating):
        raise ValueError(f"x_TBD: got dtype {x_TBD.dtype}, expected a floating dtype")
    T, B, _ = x_TBD.shape
    for name, array, shape in (("lengths", lengths, (B,)), ("resets", resets, (T, B))):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    if lengths is None:
        return
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"lengths: got dtype {lengths.dtype}, expected integers")
    # Inside a compiled program, the values are not known.
    if not isinstance(lengths, jax.core.Tracer):
        outside = [n for n in np.asarray(lengths).tolist() if not 0 <= n <= T]
        if outside:
            raise ValueError(f"lengths: got {outside[0]}, expected 0 to {T}, the steps of x_TBD")
