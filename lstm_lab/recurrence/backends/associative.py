"""Linear cells, h = a * h' + b: all time steps at once by an associative scan."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.recurrence.steps import Inputs, Options, Unrolled


def unsupported_reason(spec: Spec) -> str | None:
    """Returns the reason why the backend does not support a variant, or None."""
    if spec.cell.coefficients is None:
        return "cell: associative serves cells with coefficients, h = a * h' + b"
    return None


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs a linear cell over time by an associative scan.

    The composition of two steps is again a step, (a1, b1) then (a2, b2) = (a1 a2, a2 b1 + b2), so
    T steps need a depth of log T.

    Args:
      spec: a variant with `coefficients`.
      params: the cell's parameters.
      inputs: as in `steps.Inputs`.
      state: the initial state.
      options: direction; nothing else is supported.

    Returns:
      Hidden states and the final state.
    """
    assert spec.cell.coefficients is not None
    a, b = spec.cell.coefficients(spec, params, spec.cell.project(spec, params, inputs.x_TBD))
    if inputs.is_reset_TB is not None:
        # A reset forgets the carried state and nothing else: a = 0.
        a = jnp.where(inputs.is_reset_TB[..., None], jnp.zeros_like(a), a)
    if inputs.is_real_TB is not None:
        # Padding is the identity step, a = 1 and b = 0, which carries the state to the end.
        real = inputs.is_real_TB[..., None]
        a, b = jnp.where(real, a, jnp.ones_like(a)), jnp.where(real, b, jnp.zeros_like(b))

    def compose(first: tuple[jax.Array, jax.Array], then: tuple[jax.Array, jax.Array]):  # type: ignore[no-untyped-def]
        return first[0] * then[0], then[0] * first[1] + then[1]

    decay, added = jax.lax.associative_scan(compose, (a, b), reverse=options.reverse)
    h = (decay * state.h.astype(decay.dtype)[None] + added).astype(state.h.dtype)
    final = State(h[0] if options.reverse else h[-1])
    if inputs.is_real_TB is not None:
        h = jnp.where(inputs.is_real_TB[..., None], h, jnp.zeros_like(h))
    return Unrolled(h, final, {})
