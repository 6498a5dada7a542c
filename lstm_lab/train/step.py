"""What training computes, for one member on one device: pure functions, mapped by parallel.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.recurrent import States
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import (
    Batch,
    Examples,
    MetricSums,
    Split,
    epoch_order,
    loss_sum,
    means,
    metric_sums,
    metrics_of,
    steps_per_epoch,
    train_batch,
    zero_metrics,
)
from lstm_lab.train import padding
from lstm_lab.train import weight_averaging as averaging
from lstm_lab.train.activation_penalties import penalty
from lstm_lab.train.evaluate import (
    Splits,
    all_devices,
    apply_keeping,
    at_cut,
    device_rows,
    evaluate_where,
    nothing_measured,
    rates,
    time_cuts,
)
from lstm_lab.train.optimizer import build_optimizer, schedule
from lstm_lab.train.state import DIVERGED, FINISHED, RUNNING, Best, TrainState


class StepReport(NamedTuple):
    """What one optimiser step measured: sums and counts, then numbers of the update."""

    loss: jax.Array
    sums: MetricSums
    grad_norm: jax.Array
    update_ratio: jax.Array
    tokens: jax.Array


class Report(NamedTuple):
    """What one compiled call measured.

    Attributes:
      steps: optimiser steps done in it.
      tokens: real time steps read in it, float32.
      lr: learning rate of its last step.
      loss, grad_norm, update_ratio: means over its steps.
      train: metrics over its steps.
      valid: metrics on the validation split, NaN where it was not evaluated.
    """

    steps: jax.Array
    tokens: jax.Array
    lr: jax.Array
    loss: jax.Array
    grad_norm: jax.Array
    update_ratio: jax.Array
    train: dict[str, jax.Array]
    valid: dict[str, jax.Array]


def train_step(
    spec: RunSpec,
    schedule_length: int,
    state: TrainState,
    batch: Batch,
    *,
    padded: bool = False,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> tuple[TrainState, StepReport]:
    """Does one optimiser step.

    The gradient of the loss's *sum* is summed over devices and divided by the summed count, so that
    ragged batches weigh as they would on one device; the reduction comes after the backward pass.

    Args:
      spec: the cohort's spec.
      schedule_length: as in `optim.schedule`.
      state: the member's state.
      batch: this device's rows.
      padded: whether the arrays may have more hidden units than the member.
      cuts: numbers of time steps, rising; the first that holds the batch's longest sequence is
        computed. None computes all.
      axis_name: the axis over devices that share the batch, or None.

    Returns:
      The new state and what the step measured.
    """
    target = spec.task.target
    key = jax.random.fold_in(jax.random.key(state.noise_seed), state.step)
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, batch.rows_B)
    regularization = Regularization(rates(state.hparams), key, keys_B)

    carry = own_rows(state.carry, batch.rows_B, axis_name)

    def batch_loss(params: Any, batch: Batch) -> tuple[jax.Array, Any]:
        (logits, states), kept = apply_keeping(spec, params, batch, regularization, carry)
        loss, count = loss_sum(target, logits, batch, spec.train.label_smoothing)
        if spec.train.penalised:
            loss += penalty(spec.train, kept, batch)
        return loss, (count, metric_sums(target, logits, batch), carry and states)

    gradients = partial(jax.value_and_grad(batch_loss, has_aux=True), state.params)
    (loss, (count, found, carry)), grads = at_cut(cuts, batch, target.every_step, gradients)
    if spec.train.loss_reduction == "sum_time_mean_batch":
        count = batch.weight_B.sum()
    loss, found, grads, count, tokens = all_devices(
        (loss, found, grads, count, _tokens(batch)), axis_name
    )
    count = jnp.maximum(count, 1.0)
    grads = jax.tree.map(lambda g: g / count, grads)
    if padded:
        grads = padding.own(padding.unit_axes(spec), grads, state.units)
    optimizer = build_optimizer(spec.optim, state.hparams, schedule_length)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ratio = optax.tree.norm(updates) / optax.tree.norm(state.params)
    report = StepReport(loss / count, found, optax.tree.norm(grads), ratio, tokens)
    carry = all_rows(carry, state.carry, batch.rows_B, axis_name)
    average = state.average and averaging.add(state.average, params)
    state = state._replace(
        step=state.step + 1, params=params, opt_state=opt_state, carry=carry, average=average
    )
    return state, report


def own_rows(states: States | None, rows_B: jax.Array, axis_name: str | None) -> States | None:
    """Returns a device's rows of states that all devices keep whole."""
    return states if axis_name is None else jax.tree.map(lambda a: a[rows_B], states)


def all_rows(
    own: States | None, like: States | None, rows_B: jax.Array, axis_name: str | None
) -> States | None:
    """Returns the states of all devices' rows, the inverse of `own_rows`."""
    if axis_name is None:
        return own
    # A sum, since what it gives is known to be the same on every device.
    return lax.psum(
        jax.tree.map(lambda a, whole: jnp.zeros_like(whole).at[rows_B].set(a), own, like), axis_name
    )


def _tokens(batch: Batch) -> jax.Array:
    """Returns how many real time steps a batch has."""
    lengths = batch.examples.lengths
    length_B = batch.examples.x.shape[1] if lengths is None else lengths.astype(jnp.float32)
    return (batch.weight_B * length_B).sum()


def advance(
    spec: RunSpec,
    schedule_length: int,
    state: TrainState,
    splits: Splits,
    steps: jax.Array,
    evaluating: jax.Array,
    *,
    padded: bool = False,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> tuple[TrainState, Report]:
    """Does several optimiser steps, and an evaluation where one is due; nothing once stopped.

    Args:
      spec: the cohort's spec.
      schedule_length: as in `optim.schedule`.
      state: the member's state.
      splits: the data, train (where not generated) and valid.
      steps: how many, int32, less those past the run's end; not part of the program, so that one
        compilation serves all calls.
      evaluating: whether to evaluate afterwards.
      padded, cuts: as in `train_step`.
      axis_name: the axis over devices that share a batch, or None.

    Returns:
      The new state and what was measured.
    """

    def run(state: TrainState) -> tuple[TrainState, Report]:
        steps_left = jnp.minimum(steps, state.total - state.step)
        one = partial(
            train_step, spec, schedule_length, padded=padded, cuts=cuts, axis_name=axis_name
        )
        state, total = _train_steps(spec, one, state, splits.get("train"), steps_left, axis_name)
        valid = evaluate_where(
            spec,
            evaluating,
            averaging.weights(state.average, state.params),
            state.hparams,
            splits["valid"],
            # Another split may have longer sequences.
            cuts=time_cuts(spec, splits["valid"]) if cuts else (),
            axis_name=axis_name,
        )
        counted = jnp.maximum(steps_left, 1)
        updates = -(-state.step // spec.optim.accumulate)
        report = Report(
            steps=steps_left,
            tokens=total.tokens,
            lr=state.hparams["lr"] * schedule(spec.optim, schedule_length)(updates - 1),
            loss=total.loss / counted,
            grad_norm=total.grad_norm / counted,
            update_ratio=total.update_ratio / counted,
            train=means(spec.task.target, total.sums),
            valid=valid,
        )
        return judge(spec, state, report, evaluating), report

    def rest(state: TrainState) -> tuple[TrainState, Report]:
        nan, zero = jnp.float32(jnp.nan), jnp.float32(0)
        nothing = nothing_measured(spec)
        return state, Report(jnp.int32(0), zero, nan, nan, nan, nan, nothing, nothing)

    return lax.cond(state.stopped == RUNNING, run, rest, state)


def _train_steps(
    spec: RunSpec,
    train_one: Callable[[TrainState, Batch], tuple[TrainState, StepReport]],
    state: TrainState,
    train: Split | None,
    steps: jax.Array,
    axis_name: str | None,
) -> tuple[TrainState, StepReport]:
    """Does optimiser steps; returns the new state and the sums of what they measured."""
    rows_B = device_rows(spec.train.batch_size, axis_name)
    finite = spec.task.sample is None and isinstance(train, Examples)

    def order(state: TrainState) -> jax.Array:
        assert isinstance(train, Examples)
        epoch = state.step // steps_per_epoch(train, spec.train.batch_size)
        bucket = spec.train.batch_size if spec.train.bucket else None
        return epoch_order(train, state.data_seed, epoch, bucket)

    def one(_: jax.Array, carry: Any) -> Any:
        state, total, order_N = carry
        if finite and isinstance(train, Examples):
            # Shuffling is a sort, and an epoch needs only one.
            begins = state.step % steps_per_epoch(train, spec.train.batch_size) == 0
            order_N = lax.cond(begins, order, lambda _: order_N, state)
        batch = train_batch(
            spec.task.sample,
            train,
            state.data_seed,
            state.step,
            rows_B,
            spec.train.batch_size,
            order_N,
        )
        state, report = train_one(state, batch)
        return state, jax.tree.map(jnp.add, total, report), order_N

    begun = (state, _no_report(spec), order(state) if finite else None)
    state, total, _ = lax.fori_loop(0, steps, one, begun)
    return state, total


def _no_report(spec: RunSpec) -> StepReport:
    zero = jnp.float32(0)
    return StepReport(zero, zero_metrics(spec.task.target), zero, zero, zero)


def judge(spec: RunSpec, state: TrainState, report: Report, evaluated: jax.Array) -> TrainState:
    """Keeps the best parameters; lowers the rate on a plateau; stops a member at its end, or stale,
    or not finite."""
    value = report.valid[spec.metric]
    params = averaging.weights(state.average, state.params)
    signed = value if spec.direction == "min" else -value
    average = state.average and averaging.observe(state.average, signed, evaluated)
    best = state.best
    better = value < best.value if spec.direction == "min" else value > best.value
    better = evaluated & jnp.isfinite(value) & (better | jnp.isnan(best.value))
    stale = jnp.where(better, 0, best.stale + evaluated.astype(jnp.int32))
    best = Best(
        jnp.where(better, value, best.value),
        jnp.where(better, state.step, best.step),
        stale,
        jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best.params),
    )
    measured = report.valid[metrics_of(spec.task.target)[0]]
    diverged = ~jnp.isfinite(report.loss) | (evaluated & ~jnp.isfinite(measured))
    done = stale >= spec.train.patience if spec.train.patience is not None else jnp.asarray(False)
    done = done | (evaluated & (state.step >= state.total))
    stopped = jnp.where(diverged, DIVERGED, jnp.where(done, FINISHED, RUNNING))
    hparams = state.hparams
    if spec.optim.plateau is not None:
        falls = evaluated & (stale > 0) & (stale % spec.optim.plateau == 0)
        factor = jnp.where(falls, spec.optim.plateau_factor, 1.0)
        hparams = hparams | {"lr": hparams["lr"] * factor}
    stopped = stopped.astype(jnp.int32)
    return state._replace(best=best, hparams=hparams, stopped=stopped, average=average)
