"""What training computes, for one member on one device: pure functions, mapped by parallel.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lstm_lab.cells.noise import RATES
from lstm_lab.config import RunSpec, model_of
from lstm_lab.model import Regularise
from lstm_lab.optim import build_optimizer, schedule
from lstm_lab.tasks import (
    Batch,
    Examples,
    Scores,
    epoch_order,
    metrics_of,
    scores,
    steps_per_epoch,
    take,
    train_batch,
)
from lstm_lab.train import widths
from lstm_lab.train.state import DIVERGED, FINISHED, RUNNING, Best, TrainState

EVAL_BATCH = 256  # most rows of an evaluation batch, about
EVAL_CUT = 16  # rows of one that ends at its longest sequence
FEW = 2  # most rows of a training batch that ends at its longest sequence

Splits = dict[str, Examples]


class StepReport(NamedTuple):
    """What one optimiser step measured: sums and counts, then numbers of the update."""

    loss: jax.Array
    scores: Scores
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


def apply(spec: RunSpec, params: Any, batch: Batch, regularise: Regularise) -> jax.Array:
    """Computes a batch's logits; with keys, as in training."""
    with jax.default_matmul_precision(spec.model.precision):
        logits = model_of(spec).apply(
            {"params": params}, batch.examples.x, batch.examples.lengths, regularise
        )
    assert isinstance(logits, jax.Array)
    return logits


def train_step(
    spec: RunSpec,
    horizon: int,
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
      horizon: as in `optim.schedule`.
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
    regularise = Regularise(_rates(state.hparams), key, keys_B)

    def loss_sum(params: Any, batch: Batch) -> tuple[jax.Array, Scores]:
        found = scores(target, apply(spec, params, batch, regularise), batch)
        return found[metrics_of(target)[0]][0], found

    gradients = partial(jax.value_and_grad(loss_sum, has_aux=True), state.params)
    (loss, found), grads = _at_cut(cuts, batch, target.every_step, gradients)
    count = found[metrics_of(target)[0]][1]
    if spec.train.loss_reduction == "sum_time_mean_batch":
        count = batch.weight_B.sum()
    loss, found, grads, count, tokens = _all_devices(
        (loss, found, grads, count, _tokens(batch)), axis_name
    )
    count = jnp.maximum(count, 1.0)
    grads = jax.tree.map(lambda g: g / count, grads)
    if padded:
        grads = widths.own(widths.unit_axes(spec), grads, state.units)
    optimizer = build_optimizer(spec.optim, state.hparams, horizon)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ratio = optax.tree.norm(updates) / optax.tree.norm(state.params)
    report = StepReport(loss / count, found, optax.tree.norm(grads), ratio, tokens)
    return state._replace(step=state.step + 1, params=params, opt_state=opt_state), report


def time_cuts(spec: RunSpec, examples: Examples | None) -> tuple[int, ...]:
    """Returns `train_step`'s cuts, or `evaluate`'s of its split: with few sequences at a time most
    batches are far shorter than the data's longest, and each cut is compiled."""
    if examples is None or examples.lengths is None or spec.train.batch_size > FEW:
        return ()
    T = examples.x.shape[1]
    return tuple(-(-T * part // 8) for part in (3, 4, 5, 8))


def _at_cut(
    cuts: tuple[int, ...], batch: Batch, every_step: bool, function: Callable[[Batch], Any]
) -> Any:
    """Applies a function to a batch that ends at the first cut that holds its longest sequence."""
    if not cuts:
        return function(batch)
    assert batch.examples.lengths is not None
    first = (jnp.array(cuts) < batch.examples.lengths.max()).sum()
    parts = [_cut(batch, T, every_step) for T in cuts]
    return lax.switch(first, [partial(function, part) for part in parts])


def _cut(batch: Batch, T: int, every_step: bool) -> Batch:
    """Returns a batch without the steps from T on."""
    x, y, lengths = batch.examples
    return batch._replace(examples=Examples(x[:, :T], y[:, :T] if every_step else y, lengths))


def _rates(hparams: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: hparams[name] for name in (*RATES, "input_noise") if name in hparams}


def _all_devices(sums: Any, axis_name: str | None) -> Any:
    return sums if axis_name is None else lax.psum(sums, axis_name)


def _tokens(batch: Batch) -> jax.Array:
    """Returns how many real time steps a batch has."""
    lengths = batch.examples.lengths
    length_B = batch.examples.x.shape[1] if lengths is None else lengths.astype(jnp.float32)
    return (batch.weight_B * length_B).sum()


def evaluate(
    spec: RunSpec,
    params: Any,
    hparams: dict[str, jax.Array],
    examples: Examples,
    *,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Computes the metrics over a whole split: sums over batches, then one division.

    Args:
      spec: the cohort's spec.
      params: the parameters.
      hparams: the member's numbers, for the rates of its regularisers.
      examples: the split.
      cuts: as in `train_step`; the split then goes by length, a few sequences at a time.
      axis_name: the axis over devices that share each batch, or None.

    Returns:
      The mean of each metric over all that is predicted.
    """
    N = examples.x.shape[0]
    order_N = jnp.argsort(examples.lengths) if cuts and examples.lengths is not None else None
    batches = steps_per_epoch(N, EVAL_BATCH if order_N is None else EVAL_CUT)
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    size = -(-N // (batches * devices)) * devices
    rows_B = device_rows(size, axis_name)

    def score(batch: Batch) -> Scores:
        logits = apply(spec, params, batch, Regularise(_rates(hparams)))
        return scores(spec.task.target, logits, batch)

    def add(total: Scores, index: jax.Array) -> tuple[Scores, None]:
        batch = take(examples, index * size + rows_B, rows_B, order_N)
        found = _at_cut(cuts, batch, spec.task.target.every_step, score)
        return jax.tree.map(jnp.add, total, found), None

    total, _ = lax.scan(add, _no_scores(spec, axis_name), jnp.arange(batches))
    return means(_all_devices(total, axis_name))


def evaluate_where(
    spec: RunSpec,
    wanted: jax.Array,
    params: Any,
    hparams: dict[str, jax.Array],
    examples: Examples,
    *,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Computes what `evaluate` does if it is wanted, else NaN at no cost."""
    return lax.cond(
        wanted,
        lambda: evaluate(spec, params, hparams, examples, cuts=cuts, axis_name=axis_name),
        lambda: _nothing_measured(spec),
    )


def _no_scores(spec: RunSpec, axis_name: str | None) -> Scores:
    """Returns sums of nothing, varying over the devices as the real ones do."""
    zero = jnp.float32(0)
    if axis_name is not None:
        zero = zero * lax.axis_index(axis_name)
    return dict.fromkeys(metrics_of(spec.task.target), (zero, zero))


def means(total: Scores) -> dict[str, jax.Array]:
    """Divides sums by counts."""
    return {name: s / jnp.maximum(count, 1.0) for name, (s, count) in total.items()}


def device_rows(size: int, axis_name: str | None) -> jax.Array:
    """Returns this device's rows of a batch of `size` rows."""
    if axis_name is None:
        return jnp.arange(size)
    share = size // lax.axis_size(axis_name)
    return lax.axis_index(axis_name) * share + jnp.arange(share)


def advance(
    spec: RunSpec,
    horizon: int,
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
      horizon: as in `optim.schedule`.
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
        one = partial(train_step, spec, horizon, padded=padded, cuts=cuts, axis_name=axis_name)
        state, total = _train_steps(spec, one, state, splits.get("train"), steps_left, axis_name)
        valid = evaluate_where(
            spec,
            evaluating,
            state.params,
            state.hparams,
            splits["valid"],
            # Another split may have longer sequences.
            cuts=time_cuts(spec, splits["valid"]) if cuts else (),
            axis_name=axis_name,
        )
        counted = jnp.maximum(steps_left, 1)
        report = Report(
            steps=steps_left,
            tokens=total.tokens,
            lr=state.hparams["lr"] * schedule(spec.optim, horizon)(state.step - 1),
            loss=total.loss / counted,
            grad_norm=total.grad_norm / counted,
            update_ratio=total.update_ratio / counted,
            train=means(total.scores),
            valid=valid,
        )
        return judge(spec, state, report, evaluating), report

    def rest(state: TrainState) -> tuple[TrainState, Report]:
        nan, zero = jnp.float32(jnp.nan), jnp.float32(0)
        nothing = _nothing_measured(spec)
        return state, Report(jnp.int32(0), zero, nan, nan, nan, nan, nothing, nothing)

    return lax.cond(state.stopped == RUNNING, run, rest, state)


def _train_steps(
    spec: RunSpec,
    train_one: Callable[[TrainState, Batch], tuple[TrainState, StepReport]],
    state: TrainState,
    train: Examples | None,
    steps: jax.Array,
    axis_name: str | None,
) -> tuple[TrainState, StepReport]:
    """Does optimiser steps; returns the new state and the sums of what they measured."""
    rows_B = device_rows(spec.train.batch_size, axis_name)
    finite = spec.task.sample is None and train is not None

    def order(state: TrainState) -> jax.Array:
        assert train is not None
        epoch = state.step // steps_per_epoch(train.x.shape[0], spec.train.batch_size)
        return epoch_order(train, state.data_seed, epoch)

    def one(_: jax.Array, carry: Any) -> Any:
        state, total, order_N = carry
        if finite and train is not None:
            # Shuffling is a sort, and an epoch needs only one.
            begins = state.step % steps_per_epoch(train.x.shape[0], spec.train.batch_size) == 0
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
    return StepReport(zero, _no_scores(spec, None), zero, zero, zero)


def _nothing_measured(spec: RunSpec) -> dict[str, jax.Array]:
    return {name: jnp.float32(jnp.nan) for name in metrics_of(spec.task.target)}


def judge(spec: RunSpec, state: TrainState, report: Report, evaluated: jax.Array) -> TrainState:
    """Keeps the best parameters, and stops a member at its end, or stale, or not finite."""
    value = report.valid[spec.metric]
    best = state.best
    better = value < best.value if spec.direction == "min" else value > best.value
    better = evaluated & jnp.isfinite(value) & (better | jnp.isnan(best.value))
    stale = jnp.where(better, 0, best.stale + evaluated.astype(jnp.int32))
    best = Best(
        jnp.where(better, value, best.value),
        jnp.where(better, state.step, best.step),
        stale,
        jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, best.params),
    )
    measured = report.valid[metrics_of(spec.task.target)[0]]
    diverged = ~jnp.isfinite(report.loss) | (evaluated & ~jnp.isfinite(measured))
    done = stale >= spec.train.patience if spec.train.patience is not None else jnp.asarray(False)
    done = done | (evaluated & (state.step >= state.total))
    stopped = jnp.where(diverged, DIVERGED, jnp.where(done, FINISHED, RUNNING))
    return state._replace(best=best, stopped=stopped.astype(jnp.int32))
