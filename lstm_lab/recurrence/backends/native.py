"""The compiled path on CPU: one custom call for a layer forward, one for its gradients.

The source in kernel/ is C++ and is compiled on first use by the machine's own compiler, for the
machine's own instructions, into the user's cache (`kernel_library.py`). Nothing else than that
compiler is needed; where it is missing or fails, `unsupported_reason` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.baselines import GRU, GRUSpec
from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.cells.gated import GATED_LSTM, SIGMOID_GATES, Activation
from lstm_lab.cells.spec import CellSpec
from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.recurrence.steps import Inputs, Options, Unrolled

Served = CellSpec | GRUSpec
# The forward pass keeps inputs, h, gates and c. The length of the last array says whether x needs a
# gradient.
Residuals = tuple[tuple[jax.Array, ...], jax.Array, jax.Array, jax.Array, jax.Array]


class NativeStatic(NamedTuple):
    """The compile-time constants of a call: the variant's elementwise part, and the direction."""

    gates: int
    peepholes: bool = False
    coupled: bool = False
    offset: float = 0.0
    candidate: int = 0
    output: int = 0
    reverse: bool = False

    @property
    def attributes(self) -> dict[str, np.generic]:
        """The custom call's attributes."""
        return {
            "peepholes": np.bool_(self.peepholes),
            "coupled": np.bool_(self.coupled),
            "offset": np.float32(self.offset),
            "candidate": np.int32(self.candidate),
            "output": np.int32(self.output),
            "reverse": np.bool_(self.reverse),
        }


_GRU = NativeStatic(gates=8)  # its number in kernel/layer.h


def unsupported_reason(spec: Spec, dtype: np.dtype | type) -> str | None:
    """Returns the reason why the backend does not support a variant, naming the field, or None."""
    if jax.default_backend() != "cpu":
        return f"platform: got {jax.default_backend()}, native supports cpu"
    if not isinstance(spec, Served) or spec.cell not in (GATED_LSTM, GRU):
        return "cell: native supports the gated LSTM family and gru, not custom functions"
    for name in ("layer_norm", "projection", "multiplicative"):
        if getattr(spec, name, None):
            return f"{name}: native does not support it"
    if dtype != jnp.float32:
        return f"dtype: got {jnp.dtype(dtype).name}, native supports float32"
    # Last, because it may compile for seconds.
    return kernel_library.load(_static(spec).gates)[1]


def unroll(
    spec: Served, params: Params, inputs: Inputs, state: State, options: Options
) -> Unrolled:
    """Runs a layer by the compiled kernel.

    Args:
      spec: a variant that `unsupported_reason` accepts.
      params: the cell's parameters.
      inputs: as in `steps.Inputs`, float32; the kernel reads lengths instead of a mask.
      state: the initial state.
      options: direction; nothing else is supported.

    Returns:
      Hidden states and the final state.
    """
    T, B, _ = inputs.x_TBD.shape
    lengths, resets = inputs.lengths, inputs.is_reset_TB
    H = params["wh"].shape[-1]
    static = _static(spec)
    weights = _gru_weights(params) if isinstance(spec, GRUSpec) else _weights(spec, params)
    # With gate recurrence the carried state is [h, i, f, o].
    s0 = state.h if state.gates is None else jnp.concatenate([state.h, state.gates], 1)
    kernel_library.load(static.gates)
    h_TBH, s_final, c_final = _layer(
        static._replace(reverse=options.reverse),
        inputs.x_TBD,
        *weights,
        s0,
        jnp.zeros((B, H)) if state.c is None else state.c,
        jnp.full((B,), T, jnp.int32) if lengths is None else lengths.astype(jnp.int32),
        jnp.zeros((0, 0), jnp.uint8) if resets is None else resets.astype(jnp.uint8),
    )
    final = State(
        s_final[:, :H],
        None if state.c is None else c_final,
        None if state.gates is None else s_final[:, H:],
    )
    return Unrolled(h_TBH, final, {})


def _static(spec: Served) -> NativeStatic:
    """Returns the constants of a variant, for a sequence that is read forward."""
    if isinstance(spec, GRUSpec):
        return _GRU
    activations = get_args(Activation)
    return NativeStatic(
        sum(1 << k for k, gate in enumerate(SIGMOID_GATES) if gate in spec.gates),
        bool(spec.peephole),
        spec.coupled,
        spec.coupled_offset,
        activations.index(spec.candidate),
        activations.index(spec.output),
    )


def _weights(spec: CellSpec, params: Params) -> tuple[jax.Array, ...]:
    """Returns wx, the matrix that multiplies the carried state, b, and peepholes [3,H]."""
    wr, H = params["wh"], params["wh"].shape[-1]
    if spec.gate_recurrence:
        wr = jnp.concatenate([wr, jnp.pad(params["wg"], ((0, 0), (0, 1), (0, 0)))])
    # The kernel always reads three rows; a missing peephole is zero.
    peephole = jnp.zeros((3, H))
    if spec.peephole:
        rows = np.array([SIGMOID_GATES.index(gate) for gate in spec.peephole])
        peephole = peephole.at[rows].set(params["peephole"])
    return params["wx"], wr, params["b"], peephole


def _gru_weights(params: Params) -> tuple[jax.Array, ...]:
    """Returns the same for the GRU; the two products of the candidate become separate gates."""
    wx, wh, b = params["wx"], params["wh"], params["b"]
    return (
        jnp.concatenate([wx[:, :2], jnp.zeros_like(wx[:, :1]), wx[:, 2:]], 1),
        jnp.concatenate([wh, jnp.zeros_like(wh[:, :1])], 1),
        jnp.concatenate([b[:2], params["bn"][None], b[2:]]),
        jnp.zeros((3, wh.shape[-1])),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(static: NativeStatic, *inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _forward(static, inputs, keep=False)[:3]


def _forward(
    static: NativeStatic, inputs: tuple[jax.Array, ...], keep: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    x, _, wr = inputs[:3]
    (T, B, _), (R, G, H) = x.shape, wr.shape
    # Without a gradient nothing is stored: arrays of length 0.
    saved = T if keep else 0
    saved_c = 0 if static.gates == _GRU.gates else saved
    return _call(
        f"lstm_lab_forward_{static.gates}",
        ((T, B, H), (B, R), (B, H), (saved, B, G, H), (saved_c, B, H)),
    )(*inputs, **static.attributes)


def _call(name: str, shapes: tuple[tuple[int, ...], ...]) -> Callable[..., Any]:
    results = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    # Members one after another: the kernel already uses all cores for one.
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")


def _layer_forward(
    static: NativeStatic, *inputs: jax.custom_derivatives.CustomVJPPrimal
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Residuals]:
    # Whether x needs a gradient is known when tracing, and carried as the length of an array.
    x_needed = jnp.zeros((int(inputs[0].perturbed), 0))
    values = tuple(primal.value for primal in inputs)
    h, s_final, c_final, gates, c = _forward(static, values, keep=True)
    return (h, s_final, c_final), (values, h, gates, c, x_needed)


def _layer_backward(
    static: NativeStatic,
    residuals: Residuals,
    cotangents: Sequence[jax.Array | jax.custom_derivatives.SymbolicZero],
) -> tuple[jax.Array | None, ...]:
    inputs, h, gates, c, x_needed = residuals
    x, _, wr, _, _, s0, c0 = inputs[:7]
    (T, B, D), (R, G, H) = x.shape, wr.shape
    needed = x_needed.shape[0]
    # JAX passes symbolic zeros for outputs that the loss does not read.
    dense = [
        jnp.zeros(like.shape)
        if isinstance(cotangent, jax.custom_derivatives.SymbolicZero)
        else cotangent
        for cotangent, like in zip(cotangents, (h, s0, c0), strict=True)
    ]
    dx, *gradients = _call(
        f"lstm_lab_backward_{static.gates}",
        ((needed * T, B, D), (D, G, H), (R, G, H), (G, H), (3, H), (B, R), (B, H)),
    )(*inputs, h, gates, c, *dense, **static.attributes)
    return (dx if needed else jnp.zeros_like(x), *gradients, None, None)


_layer.defvjp(_layer_forward, _layer_backward, symbolic_zeros=True)
