"""NVIDIA's kernel for the plain LSTM: a layer is one cuDNN call, by `jax.experimental.rnn`.

It computes in float32, or in TF32 unless the precision in force is "highest", and cannot be mapped
by `vmap`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import rnn

from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.cells.gates import CellSpec

INITIAL = ("init", "forget_bias")  # what a spec says of its first weights alone
ORDER = np.array([0, 1, 3, 2])  # i, f, g, o of our i, f, o, g


def refusal(spec: Spec, dtype: Any) -> str | None:
    """Returns why a variant cannot be served here, naming the field, or None."""
    if jax.default_backend() != "gpu":
        return f"platform: found {jax.default_backend()}, cudnn serves gpu"
    if not isinstance(spec, CellSpec):
        return "cell: cudnn serves the plain LSTM alone, np or lstm"
    plain = CellSpec()
    for field in fields(CellSpec):
        if field.name not in INITIAL and getattr(spec, field.name) != getattr(plain, field.name):
            return f"{field.name}: cudnn serves the plain LSTM alone, np or lstm"
    if dtype != jnp.float32:
        return f"dtype: found {jnp.dtype(dtype).name}, cudnn serves float32"
    return None


def unroll(
    params: Params, x_TBD: jax.Array, state: State, lengths: jax.Array | None, reverse: bool
) -> tuple[jax.Array, State]:
    """Runs a layer by cuDNN.

    Args:
      params: those of a plain LSTM.
      x_TBD: inputs [T,B,D], float32, zero past each row's length.
      state: the state to start from.
      lengths: real steps of each row [B], or None.
      reverse: run from each row's last real step to the first.

    Returns:
      Hidden states h [T,B,H] and the final state.
    """
    T, B, D = x_TBD.shape
    H = params["wh"].shape[-1]
    assert state.c is not None
    length_B = jnp.full((B,), T, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
    ordered = flipped(x_TBD, length_B) if reverse else x_TBD
    # A row without steps is none to cuDNN: it gets one, of which nothing is kept.
    y_BTH, h_1BH, c_1BH = rnn.lstm(
        jnp.swapaxes(ordered, 0, 1),
        state.h[None],
        state.c[None],
        packed(params),
        jnp.maximum(length_B, 1),
        *(D, H, 1, 0.0, False, _precision()),
    )
    h_TBH = jnp.swapaxes(y_BTH, 0, 1)
    h_TBH = jnp.where((jnp.arange(T)[:, None] < length_B[None])[..., None], h_TBH, 0.0)
    some_B1 = (length_B > 0)[:, None]
    final = State(jnp.where(some_B1, h_1BH[0], state.h), jnp.where(some_B1, c_1BH[0], state.c))
    return (flipped(h_TBH, length_B) if reverse else h_TBH), final


def packed(params: Params) -> jax.Array:
    """Returns a layer's weights as cuDNN has them: W_ih, W_hh, b_ih and b_hh, which is zero here,
    each by the gates i, f, g, o, flat."""
    matrices = [jnp.transpose(params[name], (1, 2, 0))[ORDER] for name in ("wx", "wh")]
    bias_GH = params["b"][ORDER]
    return jnp.concatenate([a.ravel() for a in (*matrices, bias_GH, jnp.zeros_like(bias_GH))])


def flipped(x_TBD: jax.Array, length_B: jax.Array) -> jax.Array:
    """Returns each row's real steps in the opposite order, its padding in place."""
    t_T1 = jnp.arange(x_TBD.shape[0])[:, None]
    place_TB = jnp.where(t_T1 < length_B[None], length_B[None] - 1 - t_T1, t_T1)
    return jnp.take_along_axis(x_TBD, place_TB[..., None], axis=0)


def _precision() -> lax.Precision:
    """Returns the precision in force, as cuDNN distinguishes them: TF32 or not."""
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    exact = named in ("highest", "float32")
    return lax.Precision.HIGHEST if exact else lax.Precision.HIGH
