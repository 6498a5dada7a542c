"""The state of one training run, from step to step.

`TrainStep` (step.py) creates and updates it; `parallel.py` stacks the states of a cohort's members
along a leading axis of lanes; `checkpoint.py` writes it to disk.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.models.recurrent import States
from lstm_lab.recurrence import DeviceType
from lstm_lab.training.optimizer import hparams
from lstm_lab.training.reports import RowSoFar
from lstm_lab.training.weight_averaging import Average
from lstm_lab.utils.types import PyTree

# Values of TrainState.stopped. A lane without a run is IDLE. The host sets PRUNED, not the program.
RUNNING, FINISHED, DIVERGED, IDLE, PRUNED = range(5)


class Member(NamedTuple):
    """What distinguishes one member of a cohort from the others, as arrays.

    Everything else is part of the compiled program, so that members share one compilation.

    Attributes:
      init_seed, data_seed, noise_seed: uint32.
      hparams: `lr`, `momentum`, `weight_decay` and the rates of regularizers, float32.
      total: optimizer steps of the run, int32.
    """

    init_seed: jax.Array
    data_seed: jax.Array
    noise_seed: jax.Array
    hparams: dict[str, jax.Array]
    total: jax.Array


class BestSoFar(NamedTuple):
    """The best evaluation so far.

    Attributes:
      value: the metric, float32; NaN before the first evaluation.
      step: the optimizer step of that evaluation, int32.
      stale: evaluations since then, int32.
      params: the weights that were evaluated.
    """

    value: jax.Array
    step: jax.Array
    stale: jax.Array
    params: PyTree


class Good(NamedTuple):
    """What comes back at a rollback: fields of `TrainState`, as of the last good evaluation.

    Attributes:
      step, params, opt_state, carry, average: as in `TrainState`.
    """

    step: jax.Array
    params: PyTree
    opt_state: optax.OptState
    carry: States | None
    average: Average | None


class Rollback(NamedTuple):
    """What `train.on_nan=rollback` needs (rollback.py).

    Attributes:
      good: the last good state.
      times: rollbacks so far, int32.
      faulty: whether the training has diverged since the last evaluation.
    """

    good: Good
    times: jax.Array
    faulty: jax.Array


class TrainState(NamedTuple):
    """One member's training; a cohort stacks the states of its members.

    It holds seeds, not keys: batches and masks are functions of a seed and the step, so a restored
    state continues exactly.

    Attributes:
      step: optimizer steps done, int32.
      total: optimizer steps of the run, int32.
      units: hidden units of the member, int32; fewer than its arrays have if it is padded.
      params: parameters, float32.
      opt_state: the state of the optax optimizer.
      carry: for a stream, the final states of the chunk before, for all rows of a batch; else None.
      data_seed, noise_seed: uint32.
      hparams: `lr`, `momentum`, `weight_decay` and the rates of regularizers, float32.
      stopped: RUNNING, FINISHED, DIVERGED, IDLE or PRUNED, int32.
      best: the best evaluation so far.
      average: the averaged weights of `optim.average`; else None.
      interval: what the steps since the last row of the record measured.
      rollback: the last good state of `train.on_nan=rollback`; else None.
    """

    step: jax.Array
    total: jax.Array
    units: jax.Array
    params: PyTree
    opt_state: optax.OptState
    carry: States | None
    data_seed: jax.Array
    noise_seed: jax.Array
    hparams: dict[str, jax.Array]
    stopped: jax.Array
    best: BestSoFar
    average: Average | None
    interval: RowSoFar
    rollback: Rollback | None = None


def member_of(spec: RunSpec, total: int) -> Member:
    """Returns what distinguishes a run of `total` optimizer steps from others of its program."""
    seeds = spec.seeds
    numbers = hparams(spec.optim) | rates_of(spec.model)
    return Member(
        init_seed=jnp.uint32(seeds["init"]),
        data_seed=jnp.uint32(seeds["data"]),
        noise_seed=jnp.uint32(seeds["noise"]),
        hparams={name: jnp.float32(value) for name, value in numbers.items()},
        total=jnp.int32(total),
    )


def with_params(state: TrainState, params: PyTree) -> TrainState:
    """Returns a first state that begins with other weights.

    Args:
      state: the state of a member before its first step, host arrays.
      params: the weights, of the same structure.

    Example:
      with_params(state, params).best.params is params  # True
    """
    average = state.average and state.average._replace(params=params)
    rollback = state.rollback and state.rollback._replace(
        good=state.rollback.good._replace(params=params, average=average)
    )
    # Best so far, too: a run that diverges at once still ends with the weights it started from.
    best = state.best._replace(params=params)
    return state._replace(params=params, best=best, average=average, rollback=rollback)


def zero_states(
    spec: RunSpec, params: PyTree, rows: int, device: DeviceType | None = None
) -> States:
    """Returns all-zero states of the recurrent layers for `rows` sequences.

    The first chunk of a stream sets `Batch.is_start` and ignores them; only their shapes matter.

    Args:
      spec: the run.
      params: parameters of the model.
      rows: number of sequences.
      device: as in `build_model`.
    """
    x = zero_inputs(spec.task, rows, 1)
    # Shapes alone: running the model would allocate and compile it.
    _, states = jax.eval_shape(
        partial(build_model(spec.for_tracing(), device=device).apply, method="logits_and_states"),
        {"params": params},
        x,
    )
    return jax.tree.map(lambda state: jnp.zeros(state.shape, state.dtype), states)
