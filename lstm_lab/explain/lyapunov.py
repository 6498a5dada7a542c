"""Lyapunov exponents: how fast small differences of the state grow or shrink along a sequence.

The Jacobians J_t = dF/ds at (s_(t-1), x_t) carry an orthonormal basis Q along a sequence:

    J_t Q_(t-1) = Q_t R_t        exponent_i = mean over t of log |R_t,ii|

A difference in the slowest direction changes as exp(t * exponent_1): a negative exponent forgets
within -1 / exponent_1 steps, a positive one amplifies. The sum of all exponents is the mean of
log |det J_t|, by which volumes shrink. As the inputs are those of the data, these are exponents of
the driven network. The first steps of a sequence only turn Q into the slow directions.

Source: Benettin et al. 1980, Meccanica 15; for recurrent networks Vogt et al. 2022, On Lyapunov
exponents for RNNs, and Engelken, Wolf and Abbott 2023, Physical Review Research 5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

# Below this exponent, a direction is forgotten within one step: log |R| of a singular J is -inf.
LOWEST = -50.0


def lyapunov_spectrum(
    step: Callable[[jax.Array, jax.Array], jax.Array],
    start_BS: np.ndarray,
    x_BTD: np.ndarray,
    is_counted_BT: np.ndarray,
    exponents: int,
) -> np.ndarray:
    """Computes the largest Lyapunov exponents along sequences.

    Args:
      step: F: (s [S], x [D]) -> s [S].
      start_BS: the states before the first inputs.
      x_BTD: the inputs.
      is_counted_BT: the steps that enter the means; others only turn the basis.
      exponents: how many, at most S.

    Returns:
      The exponents of each sequence [B,E] per step, in natural logarithms, largest first; not below
      `LOWEST`.

    Example:
      half = lambda s_S, x_D: 0.5 * s_S
      lyapunov_spectrum(half, np.ones((1, 2)), np.zeros((1, 9, 1)), np.ones((1, 9), bool), 2)
      # [[-0.69, -0.69]]
    """
    run = jax.jit(jax.vmap(partial(_spectrum, step, exponents)))
    return np.asarray(run(start_BS, x_BTD, is_counted_BT))


def _spectrum(
    step: Callable[[jax.Array, jax.Array], jax.Array],
    exponents: int,
    start_S: jax.Array,
    x_TD: jax.Array,
    is_counted_T: jax.Array,
) -> jax.Array:
    def one(
        carry: tuple[jax.Array, jax.Array], x_D: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        s_S, q_SE = carry
        new_S, tangent = jax.linearize(lambda s_S: step(s_S, x_D), s_S)
        q_SE, r_EE = jnp.linalg.qr(jax.vmap(tangent, 1, 1)(q_SE))
        return (new_S, q_SE), jnp.log(jnp.abs(jnp.diagonal(r_EE)))

    basis_SE = jnp.eye(start_S.shape[0], exponents, dtype=start_S.dtype)
    _, log_TE = jax.lax.scan(one, (start_S, basis_SE), x_TD)
    log_TE = jnp.maximum(log_TE, LOWEST)
    total_E = jnp.where(is_counted_T[:, None], log_TE, 0.0).sum(0)
    return -jnp.sort(-total_E / is_counted_T.sum())
