"""Cells that are a linear scan, h = a * h' + b: all time steps at once, in a logarithm of depth."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State


def unsupported_reason(spec: Spec) -> str | None:
    """Returns why a variant cannot be served here, or None."""
    if spec.cell.coefficients is None:
        return "cell: associative serves cells with coefficients, h = a * h' + b"
    return None


def unroll(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State,
    real_TB: jax.Array | None,
    resets: jax.Array | None,
    reverse: bool,
) -> tuple[jax.Array, State]:
    """Runs a linear cell over time by an associative scan.

    (a2, b2) after (a1, b1) is (a1 a2, a2 b1 + b2).

    Args:
      spec: a variant with `coefficients`.
      params: the cell's parameters.
      x_TBD: inputs [T,B,D].
      state: the state to start from.
      real_TB: which steps are real, or None.
      resets: [T,B], true where the state is zero before the step in processing order, or None.
      reverse: run from the last step to the first.

    Returns:
      Hidden states h [T,B,H] and the final state.
    """
    assert spec.cell.coefficients is not None
    a, b = spec.cell.coefficients(spec, params, spec.cell.project(spec, params, x_TBD))
    if resets is not None:
        a = jnp.where(resets[..., None], jnp.zeros_like(a), a)
    if real_TB is not None:
        real = real_TB[..., None]
        a, b = jnp.where(real, a, jnp.ones_like(a)), jnp.where(real, b, jnp.zeros_like(b))

    def after(first: tuple[jax.Array, jax.Array], then: tuple[jax.Array, jax.Array]):  # type: ignore[no-untyped-def]
        return first[0] * then[0], then[0] * first[1] + then[1]

    kept, added = jax.lax.associative_scan(after, (a, b), reverse=reverse)
    h = (kept * state.h.astype(kept.dtype)[None] + added).astype(state.h.dtype)
    final = State(h[0] if reverse else h[-1])
    if real_TB is not None:
        h = jnp.where(real_TB[..., None], h, jnp.zeros_like(h))
    return h, final
