"""What one time step reads, and how lengths and resets act on the state around it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import State


class Steps(NamedTuple):
    """What a time step reads, stacked over time; None where the caller gave none."""

    zx: jax.Array
    real_B: jax.Array | None
    reset_B: jax.Array | None
    noise: Any


def hide_padding(x_TBD: jax.Array, lengths: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """Returns inputs that are zero in the padding, and which steps [T,B] are real, or None for all.

    Padding may hold anything, and a NaN times a zero cotangent would reach the weights.
    """
    if lengths is None:
        return x_TBD, None
    real_TB = jnp.arange(x_TBD.shape[0])[:, None] < lengths[None]
    return jnp.where(real_TB[..., None], x_TBD, jnp.zeros_like(x_TBD)), real_TB


def effective_resets(
    resets: jax.Array | None, real_TB: jax.Array | None, reverse: bool
) -> jax.Array | None:
    """Returns where the state is zeroed before a step, in processing order.

    A reset in the padding is none, and in reverse it cuts before the step ahead of it.
    """
    if resets is None:
        return None
    resets = resets.astype(bool)
    if real_TB is not None:
        resets = resets & real_TB
    if reverse:
        resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    return resets


def before(now: Steps, state: State) -> State:
    """Returns the state as a step reads it: zero where a segment begins."""
    if now.reset_B is None:
        return state
    return select(now.reset_B, jax.tree.map(jnp.zeros_like, state), state)


def select(mask_B: jax.Array, chosen: Any, other: Any) -> Any:
    """Chooses between two pytrees of [B,...] arrays row by row."""
    return jax.tree.map(
        lambda a, b: jnp.where(jnp.expand_dims(mask_B, range(1, a.ndim)), a, b), chosen, other
    )
