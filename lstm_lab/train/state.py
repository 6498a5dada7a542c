"""What one training run carries from step to step."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import blank_input, model_of
from lstm_lab.models.recurrent import States
from lstm_lab.train.optimizer import build_optimizer, hparams
from lstm_lab.train.weight_averaging import Average, waiting

# Values of TrainState.stopped. FINISHED is early, or after all its steps; PRUNED is by the host.
RUNNING, FINISHED, DIVERGED, IDLE, PRUNED = range(5)


class Member(NamedTuple):
    """What distinguishes a member from the others of its cohort: arrays.

    Attributes:
      init_seed, data_seed, noise_seed: uint32.
      hparams: `lr`, `momentum`, `weight_decay` and the rates of regularisers, float32.
      total: optimiser steps of the run, int32.
    """

    init_seed: Any
    data_seed: Any
    noise_seed: Any
    hparams: dict[str, Any]
    total: Any


class Best(NamedTuple):
    """The best evaluation so far.

    Attributes:
      value: the metric, float32; NaN before the first evaluation.
      step: where it was, int32.
      stale: evaluations since, int32.
      params: the parameters there.
    """

    value: jax.Array
    step: jax.Array
    stale: jax.Array
    params: Any


class TrainState(NamedTuple):
    """One member's training; a cohort stacks them along a leading axis.

    Attributes:
      step: optimiser steps done, int32.
      total: optimiser steps of the run, int32.
      units: hidden units of the member, int32; fewer than its arrays have where it is padded.
      params: float32 parameters.
      opt_state: optax's.
      carry: of a stream, the model's states after the chunk before, for all rows; else None.
      data_seed, noise_seed: uint32; a batch and a mask are functions of a seed and the step.
      hparams: `lr`, `momentum`, `weight_decay` and the rates of regularisers, float32.
      stopped: RUNNING, FINISHED, DIVERGED, IDLE or PRUNED, int32.
      best: the best evaluation so far.
      average: of `optim.average`; else None.
    """

    step: jax.Array
    total: jax.Array
    units: jax.Array
    params: Any
    opt_state: Any
    carry: States | None
    data_seed: jax.Array
    noise_seed: jax.Array
    hparams: dict[str, jax.Array]
    stopped: jax.Array
    best: Best
    average: Average | None


def member_of(spec: RunSpec, total: int) -> Member:
    """Returns what distinguishes a run of so many steps."""
    seeds = spec.seeds
    return Member(
        init_seed=jnp.uint32(seeds["init"]),
        data_seed=jnp.uint32(seeds["data"]),
        noise_seed=jnp.uint32(seeds["noise"]),
        hparams={
            name: jnp.float32(value)
            for name, value in (hparams(spec.optim) | rates_of(spec.model)).items()
        },
        total=jnp.int32(total),
    )


def empty_states(spec: RunSpec, params: Any, rows: int) -> States:
    """Returns states of so many rows with nothing in them, as a stream's first chunk ignores."""
    x = blank_input(spec.task, rows, 1)
    _, states = jax.eval_shape(partial(model_of(spec).apply, method="run"), {"params": params}, x)
    return jax.tree.map(lambda state: jnp.zeros(state.shape, state.dtype), states)


def init_state(spec: RunSpec, schedule_length: int, member: Member) -> TrainState:
    """Returns a member's state before its first step.

    Args:
      spec: the cohort's spec; what `member` holds is taken from there.
      schedule_length: as in `optim.schedule`.
      member: its seeds and numbers.

    Returns:
      The state; the cell, the head and the embedding are drawn from the initialisation seed.
    """
    x = blank_input(spec.task, 1, 1)
    params = model_of(spec).init(jax.random.key(member.init_seed), x)["params"]
    optimizer = build_optimizer(spec.optim, member.hparams, schedule_length)
    return TrainState(
        step=jnp.int32(0),
        total=member.total,
        units=jnp.int32(spec.model.hidden),
        params=params,
        opt_state=optimizer.init(params),
        carry=empty_states(spec, params, spec.train.batch_size) if spec.task.is_stream else None,
        data_seed=member.data_seed,
        noise_seed=member.noise_seed,
        hparams=member.hparams,
        stopped=jnp.int32(RUNNING),
        best=Best(jnp.float32(jnp.nan), jnp.int32(0), jnp.int32(0), params),
        average=None if spec.optim.average is None else waiting(spec.optim.average, params),
    )
