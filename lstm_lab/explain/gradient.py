"""The gradient by lag: how much an output depends on what was k steps before.

    g(k) = E |d (v . y_T) / d x_(T-k)|        E over sequences and random directions v

y_T are the logits at the last step of a sequence that has a target: no other logits are trained.
The same with the state that step T-k reads, s_(T-k-1), in
place of its input shows what the recurrence keeps, whether or not an input writes it. Where g(k)
has fallen to nothing, the network neither uses what is so old nor learns, by gradients, to use it.

Source: Hochreiter 1991 and Bengio, Simard and Frasconi 1994, for the decay of these gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.explain.network import NO_TARGET, Network, Visited
from lstm_lab.tasks import Target
from lstm_lab.utils.types import PyTree

ROWS, STEPS = 32, 400
# Steps of all sequences, which are differentiated at once: memory is proportional to their number.
MOST_STEPS = ROWS * STEPS


def until_last_target(visited: Visited, target: Target) -> tuple[np.ndarray, np.ndarray] | str:
    """Chooses the sequences whose gradients are computed, up to their last target.

    If every step has a target, the first steps of a sequence do; else whole sequences are needed.

    Args:
      visited: what the network does on its data.
      target: what the model predicts.

    Returns:
      The inputs [B,T,D] and the number of steps of each sequence up to its last target [B], or the
      reason why there are none.
    """
    part, has_target_BT = visited.with_target(target, ROWS)
    if not len(has_target_BT):
        return NO_TARGET
    if (has_target_BT == part.is_real_BT).all():
        has_target_BT = has_target_BT[:, :STEPS]
    length_B = has_target_BT.shape[1] - has_target_BT[:, ::-1].argmax(1)
    longest = int(length_B.max())
    if longest == 1:
        return "no sequence has a step before its last target"
    if longest > MOST_STEPS:
        return f"the last target is at step {longest:,}, expected {MOST_STEPS:,} or less"
    rows = MOST_STEPS // longest
    return part.x_BTD[:rows, :longest], length_B[:rows]


def gradient_norms(read: Callable[[PyTree], jax.Array], moved: PyTree) -> PyTree:
    """Computes the norm of the gradient of a number at each step: |d read / d moved|.

    Args:
      read: arrays -> a number.
      moved: one array [...,D], or several.

    Returns:
      The norms [...], one array for each.

    Example:
      gradient_norms(lambda x_TBD: x_TBD[-1].sum(), jnp.ones((3, 1, 4)))  # [[0], [0], [2]]
    """
    return jax.tree.map(lambda array: jnp.linalg.norm(array, axis=-1), jax.grad(read)(moved))


def gradients_by_lag(
    network: Network, x_BTD: np.ndarray, length_B: np.ndarray, key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the gradients of the logits at the last of some steps, by lag.

    Args:
      network: the network; the caller has enabled float64.
      x_BTD: inputs of the stack.
      length_B: steps of each sequence, at whose last one the logits are read.
      key: of the random directions.

    Returns:
      The mean norms against inputs and against states, [T] by lag from 0 on. Each lag averages over
      the sequences that are long enough; NaN if none is.
    """
    B, T = x_BTD.shape[:2]
    is_start_T = jnp.arange(T) == 0

    def logits(x_TD: jax.Array, shift_TS: jax.Array, length: jax.Array) -> jax.Array:
        def one(s_S: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            x_D, shift_S, is_start = now
            return network.step(network.params["lstm"], s_S + shift_S, x_D, is_start)

        _, o_TK = jax.lax.scan(one, network.zero, (x_TD, shift_TS, is_start_T))
        return network.logits(o_TK[length - 1][None])[0]

    def read(moved: tuple[jax.Array, jax.Array]) -> jax.Array:
        logits_BC = jax.vmap(logits)(*moved, jnp.asarray(length_B))
        v_BC = jax.random.normal(key, logits_BC.shape, logits_BC.dtype)
        return jnp.vdot(v_BC / jnp.linalg.norm(v_BC, axis=1, keepdims=True), logits_BC)

    moved = jnp.asarray(x_BTD), jnp.zeros((B, T, len(network.zero)))
    of_inputs_BT, of_states_BT = jax.jit(lambda moved: gradient_norms(read, moved))(moved)
    # The first step reads the initial state, which no shift changes.
    return _by_lag(of_inputs_BT, length_B), _by_lag(of_states_BT[:, 1:], length_B - 1)


def _by_lag(norm_BT: jax.Array, length_B: np.ndarray) -> np.ndarray:
    """Averages norms by their lag to the last of `length_B` steps."""
    norms, T = np.asarray(norm_BT), norm_BT.shape[1]
    lag_BT = length_B[:, None] - 1 - np.arange(T)[None]
    by_lag = [norms[lag_BT == lag] for lag in range(T)]
    return np.array([values.mean() if values.size else np.nan for values in by_lag])


def reach(norm_T: np.ndarray, share: float) -> int | None:
    """Returns the lag from which on a norm stays below a share of its largest value.

    Args:
      norm_T: norms by lag.
      share: the share.

    Returns:
      The lag in steps, or None if the norm is still above the share at the longest lag.

    Example:
      reach(np.array([1.0, 0.5, 0.001]), 0.01)  # 2
    """
    known_T = norm_T[~np.isnan(norm_T)]
    above = np.flatnonzero(known_T > share * known_T.max())
    after = int(above[-1]) + 1 if len(above) else 0
    return after if after < len(known_T) else None
