"""The inputs of a layer over time, and the effect of lengths and resets on the carried state.

Every backend takes `Inputs` and `Options`, which `unroll` prepares, and returns `Unrolled`. Read
unroll.py next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import GateValue, State
from lstm_lab.utils.types import PyTree

# Names in a compiled program, by which compilation/kernels.py finds loops over time.
TIME_SCOPE = "recurrence_over_time"  # everything that `unroll` computes
UNROLLED_SCOPE = "unrolled_by_"  # followed by the number
EVERYTHING = ("*",)  # a value of `trace`: all gates and state fields of a cell


class Unrolled(NamedTuple):
    """The result of a cell over time.

    Attributes:
      h: hidden states [T,B,H], zero in the padding.
      final: the state after each row's last real step.
      traced: gates and state fields over time [T,B,H], by name; empty without `trace`.

    Example:
      result = unroll(spec, params, x_TBD, trace=("f",))
      result.traced["f"].shape == result.h.shape  # True
      h_TBH, final, traced = result
    """

    h: jax.Array
    final: State
    traced: dict[str, jax.Array]


class Inputs(NamedTuple):
    """The arrays that a backend computes on, besides parameters and state.

    Attributes:
      x_TBD: inputs, zero in the padding.
      lengths: real steps of each row [B], or None if all steps are real.
      is_real_TB: the same as a mask, or None.
      is_reset_TB: the state is zero before this step, in processing order; or None.
      noise: masks with a leading axis of T steps, or of 1 if all steps share them; or None.
    """

    x_TBD: jax.Array
    lengths: jax.Array | None = None
    is_real_TB: jax.Array | None = None
    is_reset_TB: jax.Array | None = None
    noise: PyTree = None


class LoopShape(NamedTuple):
    """How the steps are divided into loops; it changes rounding, and nothing else.

    Attributes:
      unrolled: steps that one iteration computes. What an iteration does once, such as to store the
        states of its steps and to count, is then shared by several steps.
      chunk: steps for which `fused` computes one product with the input, and one for each weight
        gradient, at most.

    Example:
      LoopShape(unrolled=8, chunk=64)
    """

    unrolled: int = 1
    chunk: int = 16

    def scope(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context that puts `unrolled` into the names of the operations in a loop.

        compilation/kernels.py reads the number there.

        Example:
          with loop.scope():
            final, ys = jax.lax.scan(body, carry, xs, unroll=loop.unrolled)
        """
        return jax.named_scope(f"{UNROLLED_SCOPE}{self.unrolled}")


def loop_shape(platform: str) -> LoopShape:
    """Returns the division of the steps for a platform: `cpu`, `gpu` or `tpu`.

    A GPU needs a few microseconds to launch a kernel, which is longer than most kernels of one time
    step take.

    Example:
      loop_shape("gpu").unrolled  # 8
    """
    return LoopShape(unrolled=8, chunk=64) if platform == "gpu" else LoopShape()


class Options(NamedTuple):
    """The static choices of a call.

    Attributes:
      reverse: run from the last step to the first.
      clamp: constant values for gates, by name.
      trace: names of gates and state fields to return over time.
      loop: how the steps are divided into loops.
    """

    reverse: bool = False
    clamp: Mapping[str, GateValue] | None = None
    trace: tuple[str, ...] = ()
    loop: LoopShape = LoopShape()


class Steps(NamedTuple):
    """The inputs of all time steps, stacked over time; None if the caller gave none."""

    zx: jax.Array
    is_real_B: jax.Array | None
    is_reset_B: jax.Array | None
    noise: PyTree


def over_time(inputs: Inputs) -> PyTree:
    """Returns the masks with a leading axis of T steps; XLA does not store the copies."""
    T = inputs.x_TBD.shape[0]
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (T, *a.shape[1:])), inputs.noise)


def widths(state: State) -> tuple[int, int]:
    """Returns H and R of a layer, its hidden units and the width of h, from the state's shapes."""
    R = state.h.shape[-1]
    # A projection makes h narrower; a user's cell may have one number for each row in c.
    return (R if state.c is None else max(R, state.c.shape[-1])), R


def check_state(state: State, zero: State) -> None:
    """Raises ValueError unless a state has the fields and shapes of the cell's zero state.

    Every backend would need the check: kernels read the memory of an array without its shape.

    Example:
      state = State(h=jnp.zeros((3, 16)), c=jnp.zeros((2, 16)))
      check_state(state, spec.cell.initial(spec, params, zx_BG, jnp.float32))
      # ValueError: state.h: got shape (3, 16), expected (2, 16)
    """
    if not hasattr(state, "_fields"):
        raise ValueError(f"state: got a {type(state).__name__}, expected a State")
    for name, field in zero._asdict().items():
        shape, expected = (
            None if array is None else jnp.shape(array) for array in (getattr(state, name), field)
        )
        if shape != expected:
            got = "None" if shape is None else f"shape {shape}"
            raise ValueError(f"state.{name}: got {got}, expected {expected}")


def matmul_precision() -> str | None:
    """Returns the precision of matrix products in force, as `jax.default_matmul_precision` sets it.

    A backend with a derivative of its own keeps it for the backward pass: JAX traces that one
    later, when the caller's setting has ended.
    """
    precision: str | None = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return precision


def hide_padding(x_TBD: jax.Array, lengths: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """Sets the padding to zero.

    Args:
      x_TBD: inputs.
      lengths: real steps of each row [B], or None.

    Returns:
      The inputs, and a mask [T,B] of the real steps, or None if all are real.
    """
    if lengths is None:
        return x_TBD, None
    is_real_TB = jnp.arange(x_TBD.shape[0])[:, None] < lengths[None]
    # Masking the outputs is not enough: padding may hold a NaN, and in the backward pass NaN times
    # a zero cotangent is NaN, which would reach the weights.
    return jnp.where(is_real_TB[..., None], x_TBD, jnp.zeros_like(x_TBD)), is_real_TB


def effective_resets(
    resets: jax.Array | None, is_real_TB: jax.Array | None, reverse: bool
) -> jax.Array | None:
    """Computes at which steps the state is zeroed first, in processing order: [T,B] or None.

    Resets in the padding are ignored.
    """
    if resets is None:
        return None
    resets = resets.astype(bool)
    if is_real_TB is not None:
        resets = resets & is_real_TB
    if reverse:
        # A reset at t separates t - 1 from t. In reverse, step t - 1 is the one that follows it.
        resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    return resets


def apply_reset(now: Steps, state: State) -> State:
    """Sets the state of each row to zero if a new segment starts at this step."""
    if now.is_reset_B is None:
        return state
    return select(now.is_reset_B, jax.tree.map(jnp.zeros_like, state), state)


def states_before(
    initial: PyTree, after: PyTree, is_reset_TB: jax.Array | None, reverse: bool
) -> PyTree:
    """Returns the state before each step.

    Args:
      initial: the state before the first step in processing order, arrays [B,...].
      after: the states after each step [T,B,...].
      is_reset_TB: the state is zero before this step; or None.
      reverse: whether the last step is the first in processing order.
    """

    def shifted(first: jax.Array, rest: jax.Array) -> jax.Array:
        return jnp.concatenate([rest[1:], first[None]] if reverse else [first[None], rest[:-1]])

    before = jax.tree.map(shifted, initial, after)
    if is_reset_TB is None:
        return before
    return select(is_reset_TB, jax.tree.map(jnp.zeros_like, before), before)


def select(mask: jax.Array, chosen: PyTree, other: PyTree) -> PyTree:
    """Chooses between two pytrees, row by row: a mask [B] for arrays [B,...], or [T,B] likewise."""
    return jax.tree.map(
        lambda a, b: jnp.where(jnp.expand_dims(mask, range(mask.ndim, a.ndim)), a, b), chosen, other
    )
