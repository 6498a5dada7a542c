"""NVIDIA's kernel for the plain LSTM, by `jax.experimental.rnn`: one cuDNN call per stack.

It computes in float32, or in TF32 unless the precision in force is "highest". Dropout between
layers divides a stack into several calls and is computed outside cuDNN: JAX gives cuDNN's own
dropout the same seed, 123, at every training step.
Under `vmap` members run one after another, because the kernel has no batching rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap
from jax.experimental.layout import Layout, with_layout_constraint

from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.cells.spec import CellSpec
from lstm_lab.recurrence.steps import Inputs, Options, Unrolled, matmul_precision

Arrays = tuple[jax.Array, ...]

INITIAL = ("init", "forget_bias")  # fields that affect only the initial weights


class CudnnStatic(NamedTuple):
    """The static arguments of a call, in the order of `jax.experimental.rnn`."""

    D: int
    H: int
    layers: int
    dropout: float
    both: bool
    precision: lax.Precision


def unsupported_reason(
    spec: Spec, dtype: np.dtype | type, platform: str, unusual_dtype: str = ""
) -> str | None:
    """Returns the reason why the backend does not support a variant, naming the field, or None.

    Args:
      spec: the variant.
      dtype: of the inputs.
      platform: of the device for which the call is compiled.
      unusual_dtype: an array of another dtype than usual, as in `dispatch.unusual_dtype`.
    """
    if platform != "gpu":
        return f"platform: got {platform}, cudnn supports gpu"
    if not isinstance(spec, CellSpec):
        return "cell: cudnn supports only the plain LSTM, np or lstm"
    plain = CellSpec()
    for field in fields(CellSpec):
        if field.name not in INITIAL and getattr(spec, field.name) != getattr(plain, field.name):
            return f"{field.name}: cudnn supports only the plain LSTM, np or lstm"
    if dtype != jnp.float32:
        return f"dtype: got {jnp.dtype(dtype).name}, cudnn supports float32"
    return f"{unusual_dtype}, cudnn supports float32" if unusual_dtype else None


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs one layer in one direction by cuDNN; see `unroll_stack`."""
    del spec
    h_TBH, ((final,),) = unroll_stack(
        [[params]], inputs.x_TBD, [[state]], inputs.lengths, options.reverse
    )
    return Unrolled(h_TBH, final, {})


def unroll_stack(
    layers: Sequence[Sequence[Params]],
    x_TBD: jax.Array,
    states: Sequence[Sequence[State]],
    lengths: jax.Array | None,
    reverse: bool = False,
) -> tuple[jax.Array, list[tuple[State, ...]]]:
    """Runs stacked layers of equal width by cuDNN, each reading the one below.

    Args:
      layers: for each layer the parameters of its direction, or of both, whose outputs then lie
        side by side.
      x_TBD: inputs [T,B,D], float32, zero past each row's length.
      states: for each layer and direction the state to start from.
      lengths: real steps of each row [B], or None.
      reverse: run a lone direction from each row's last real step to the first.

    Returns:
      The last layer's h [T,B,H], or [T,B,2H]; and the final states, as `states`.
    """
    T, B, D = x_TBD.shape
    directions = len(layers[0])
    # The kernel always takes lengths; without them all rows are full.
    length_B = jnp.full((B,), T, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
    initial = [state for each in states for state in each]
    h_PBH, c_PBH = (jnp.stack([getattr(s, name) for s in initial]) for name in ("h", "c"))
    # Dropout 0.0: JAX passes the same seed at every call, so the model draws its own.
    static = CudnnStatic(D, h_PBH.shape[-1], len(layers), 0.0, directions == 2, _precision())
    # cuDNN runs backward only as one of two directions. A lone one reads flipped inputs.
    ordered = flipped(x_TBD, length_B) if reverse else x_TBD
    # cuDNN refuses rows without steps: they get one step, whose results are discarded below.
    y_BTH, h_end, c_end = _call(
        static,
        jnp.swapaxes(ordered, 0, 1),
        h_PBH,
        c_PBH,
        packed([params for each in layers for params in each]),
        jnp.maximum(length_B, 1),
    )
    h_TBH = jnp.swapaxes(y_BTH, 0, 1)
    # Padding gives zero outputs, as in every backend.
    h_TBH = jnp.where((jnp.arange(T)[:, None] < length_B[None])[..., None], h_TBH, 0.0)
    is_nonempty_B1 = (length_B > 0)[:, None]
    h_end, c_end = jnp.where(is_nonempty_B1, h_end, h_PBH), jnp.where(is_nonempty_B1, c_end, c_PBH)
    ends = [State(h_end[k], c_end[k]) for k in range(len(initial))]
    finals = [tuple(ends[k : k + directions]) for k in range(0, len(ends), directions)]
    return (flipped(h_TBH, length_B) if reverse else h_TBH), finals


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _call(static: CudnnStatic, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Calls the kernel on x [B,T,D], h and c [layers * directions,B,H], weights and lengths."""
    return _forward(static, *arrays)[0]


def _forward(static: CudnnStatic, *arrays: jax.Array) -> tuple[Arrays, Arrays]:
    # Late: JAX's bindings of CUDA take a tenth of a second, which a CPU should not pay for.
    from jax.experimental import rnn

    def call(*arrays: jax.Array) -> tuple[Arrays, Arrays]:
        x_BTD, h_PBH, c_PBH, weights, length_B = _row_major(arrays)
        outputs, (*inputs, _, reserved) = rnn.lstm_fwd(
            x_BTD, h_PBH, c_PBH, weights, length_B, *static
        )
        y_BTH, h_PBH, c_PBH = _row_major(outputs)
        return (y_BTH, h_PBH, c_PBH), (*inputs, y_BTH, reserved)

    return sequential_vmap(call)(*arrays)


def _backward(
    static: CudnnStatic, residuals: Arrays, cotangents: Arrays
) -> tuple[jax.Array | None, ...]:
    from jax.experimental import rnn

    def call(residuals: Arrays, cotangents: Arrays) -> Arrays:
        gradients = rnn.lstm_bwd(*static, _row_major(residuals), _row_major(cotangents))
        return _row_major(gradients[:4])

    return (*sequential_vmap(call)(residuals, cotangents), None)


_call.defvjp(_forward, _backward)


def _row_major(arrays: Sequence[jax.Array]) -> Arrays:
    """Returns arrays whose memory has the order of their dimensions, as the kernel reads and
    writes them.

    JAX's call states no layout. Without this, XLA may give the kernel an array that was transposed
    before the call as it lies, or take its outputs as transposed, which gives wrong numbers. What
    comes from the kernel must have no other use.
    """
    return tuple(with_layout_constraint(a, Layout(tuple(range(a.ndim)))) for a in arrays)


def packed(pseudo_layers: Sequence[Params]) -> jax.Array:
    """Returns weights as cuDNN has them: of each layer and direction W_ih and W_hh, then of each
    b_ih and b_hh, which is zero here, all by the gates i, f, g, o, flat."""
    matrices = [
        _reordered(jnp.transpose(params[name], (1, 2, 0)))
        for params in pseudo_layers
        for name in ("wx", "wh")
    ]
    biases = [
        bias
        for params in pseudo_layers
        for bias in (_reordered(params["b"]), jnp.zeros_like(params["b"]))
    ]
    return jnp.concatenate([a.ravel() for a in (*matrices, *biases)])


def _reordered(gates_G: jax.Array) -> jax.Array:
    """Returns i, f, g, o of our i, f, o, g; by slices, whose gradients need no scatter."""
    return jnp.concatenate([gates_G[:2], gates_G[3:], gates_G[2:3]])


def flipped(x_TBD: jax.Array, length_B: jax.Array) -> jax.Array:
    """Returns each row's real steps in the opposite order, its padding in place."""
    t_T1 = jnp.arange(x_TBD.shape[0])[:, None]
    place_TB = jnp.where(t_T1 < length_B[None], length_B[None] - 1 - t_T1, t_T1)
    return jnp.take_along_axis(x_TBD, place_TB[..., None], axis=0)


def _precision() -> lax.Precision:
    """Returns the precision in force, as cuDNN distinguishes them: TF32 or not."""
    exact = matmul_precision() in ("highest", "float32")
    return lax.Precision.HIGHEST if exact else lax.Precision.HIGH
