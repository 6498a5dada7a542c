"""The reference backend: plain autodiff through `lax.scan` over the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec, State, advance
from lstm_lab.recurrence.steps import (
    EVERYTHING,
    Inputs,
    Options,
    Steps,
    Unrolled,
    apply_reset,
    over_time,
    select,
)


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs a cell over time; see `unroll` in recurrence/unroll.py for the arguments."""
    # A user's pointwise need not take `clamp`, so the keyword is passed only if it is used.
    keywords = {"clamp": options.clamp} if options.clamp else {}
    # The product with the input needs no state: one large product for all T steps.
    zx = spec.cell.project(spec, params, inputs.x_TBD)
    steps = Steps(zx, inputs.is_real_TB, inputs.is_reset_TB, over_time(inputs))

    def body(state: State, now: Steps) -> tuple[State, tuple[jax.Array, dict[str, jax.Array]]]:
        state = apply_reset(now, state)
        new, gates = advance(spec, params, now.zx, state, now.noise, **keywords)
        outputs = (new.h, _select_trace(options.trace, new, gates))
        if now.is_real_B is not None:
            # Padding leaves the state as it is and gives zero outputs.
            new = select(now.is_real_B, new, state)
            outputs = select(now.is_real_B, outputs, jax.tree.map(jnp.zeros_like, outputs))
        return new, outputs

    with options.loop.scope():
        final, (h_TBH, traced) = jax.lax.scan(
            body, state, steps, reverse=options.reverse, unroll=options.loop.unrolled
        )
    return Unrolled(h_TBH, final, traced)


def _select_trace(
    names: tuple[str, ...], state: State, gates: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    """Selects the gates and state fields to return over time."""
    fields = {k: v for k, v in state._asdict().items() if v is not None}
    available = {**fields, **gates}
    if names == EVERYTHING:
        return available
    for name in names:
        if name not in available:
            raise ValueError(f"trace: got {name!r}, expected one of {', '.join(available)}")
    return {name: available[name] for name in names}
