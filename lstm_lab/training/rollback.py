"""`train.on_nan=rollback`: a diverged member goes back to its last good state, at a lower rate.

Pure functions of one member's state, inside the compiled program, so that the members of a cohort
go back independently of each other, and a killed run does the same again.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.config.sections import TrainSpec
from lstm_lab.training.state import DIVERGED, RUNNING, Good, Rollback, TrainState
from lstm_lab.utils.types import PyTree


def init(state: TrainState) -> Rollback:
    """Returns the start: the state before training is the last good one.

    Args:
      state: a member's first state.
    """
    return Rollback(good_of(state), jnp.int32(0), jnp.asarray(False))


def good_of(state: TrainState) -> Good:
    """Returns what of a state comes back at a rollback.

    Args:
      state: a member's state.
    """
    return Good(state.step, state.params, state.opt_state, state.carry, state.average)


def apply(
    spec: TrainSpec, before: TrainState, after: TrainState, evaluated: jax.Array
) -> TrainState:
    """Returns the state after a call, if need be that of the last good evaluation.

    A member goes back at evaluations only. All members of a program evaluate in the same calls, so
    its later evaluations come at the same steps as without the fault. Until then its steps are
    lost.

    Args:
      spec: the factor of the rate and the limit.
      before: the state before the evaluation was judged: the best weights and rates of that time.
      after: the state after it; `stopped` is DIVERGED if the call diverged.
      evaluated: whether there was an evaluation.
    """
    assert before.rollback is not None
    good, times = before.rollback.good, before.rollback.times
    faulty = before.rollback.faulty | (after.stopped == DIVERGED)
    rolls = evaluated & faulty & (times < spec.rollback_limit)
    kept = _where(evaluated & ~faulty, good_of(after), good)
    rate = before.hparams["lr"] * jnp.where(rolls, spec.rollback_factor, 1.0)
    hparams = _where(rolls, before.hparams, after.hparams)
    state = after._replace(
        **_where(rolls, good, good_of(after))._asdict(),
        best=_where(rolls, before.best, after.best),
        hparams=hparams | {"lr": jnp.where(rolls, rate, hparams["lr"])},
    )
    # A fault before the evaluation stops the member only then.
    ended = jnp.where(evaluated & faulty, DIVERGED, after.stopped)
    waits = rolls | (faulty & ~evaluated)
    return state._replace(
        stopped=jnp.where(waits, RUNNING, ended).astype(jnp.int32),
        rollback=Rollback(kept, times + rolls.astype(jnp.int32), faulty & ~evaluated),
    )


def _where(condition: jax.Array, then: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), then, other)
