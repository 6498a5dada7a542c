"""TrainStep: everything that training computes for one member on one device, as pure functions.

In: a `TrainState` and data. Out: the new state and what was measured. `parallel.py` maps these
methods over the lanes of a program and over devices; nothing here knows of either, except for the
axis of devices that share a batch (`device_axis.py`). Read `forward.py` and `model_selection.py`
next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.models.regularization import Regularization
from lstm_lab.models.weights import stop_gradients
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import (
    Batch,
    Split,
    means,
    train_batch,
    zero_metrics,
)
from lstm_lab.training import padding, rollback, weight_averaging
from lstm_lab.training.activation_penalties import penalty
from lstm_lab.training.device_axis import ONE_DEVICE, DeviceAxis
from lstm_lab.training.epochs import next_order, order_of_epoch
from lstm_lab.training.evaluate import evaluate_split, nan_metrics
from lstm_lab.training.forward import (
    forward,
    length_buckets,
    loss_and_metrics,
    regularization_rates,
    switch_on_length,
    training_regularization,
)
from lstm_lab.training.model_selection import reduce_on_plateau, should_stop, update_best
from lstm_lab.training.optimizer import (
    before_lookahead,
    build_optimizer,
    learning_rate,
    schedule,
)
from lstm_lab.training.reports import (
    EVALUATE,
    PAUSE,
    ChunkReport,
    LossParts,
    RowSoFar,
    StepReport,
    count_tokens,
    first_fault,
    no_fault,
    relative_size,
)
from lstm_lab.training.state import RUNNING, BestSoFar, Member, TrainState, zero_states
from lstm_lab.training.update import apply_gradients
from lstm_lab.utils.types import PyTree

Splits = dict[str, Split]
STEPS_SCOPE = "optimizer_steps"


@dataclass(frozen=True)
class TrainStep:
    """Everything that is computed for one member on one device.

    Hashable, so that equal cohorts share a compilation.

    Attributes:
      spec: the cohort's spec; seeds and numbers in it are not read, `Member` holds them.
      schedule_length: optimizer updates of the learning-rate schedule, see
        `optimizer.schedule_length`.
      padded: whether the arrays may have more hidden units than the member.
      cut_to_length: whether small batches are computed only up to their longest sequence.
      axis: the devices that share each batch.
      device: the type of device for which the functions are compiled; None stands for this
        process's.
    """

    spec: RunSpec
    schedule_length: float
    padded: bool = False
    cut_to_length: bool = False
    axis: DeviceAxis = ONE_DEVICE
    device: DeviceType | None = None

    def init(self, member: Member) -> TrainState:
        """Returns a member's state before its first step.

        Embedding, cell and head are drawn from the member's initialization seed.
        """
        spec = self.spec
        # Shapes of parameters do not depend on the batch or the length, so the smallest input will
        # do.
        x = zero_inputs(spec.task, 1, 1)
        model = build_model(spec, device=self.device)
        params = model.init(jax.random.key(member.init_seed), x)["params"]
        optimizer = build_optimizer(spec.optim, member.hparams, self.schedule_length)
        rows, patience = spec.train.batch_size, spec.optim.average
        state = TrainState(
            step=jnp.int32(0),
            total=member.total,
            units=jnp.int32(spec.model.hidden),
            params=params,
            opt_state=optimizer.init(params),
            carry=zero_states(spec, params, rows, self.device) if spec.task.is_stream else None,
            data_seed=member.data_seed,
            noise_seed=member.noise_seed,
            hparams=member.hparams,
            # The weights before training count as best until the first evaluation: a run that
            # diverges at once still has weights to load.
            stopped=jnp.int32(RUNNING),
            best=BestSoFar(jnp.float32(jnp.nan), jnp.int32(0), jnp.int32(0), params),
            average=None if patience is None else weight_averaging.init(patience, params),
            interval=self._no_steps(),
        )
        if spec.train.on_nan == "stop":
            return state
        return state._replace(rollback=rollback.init(state))

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport, PyTree]:
        """Does one optimizer step: loss, gradients, reduction over devices, update.

        Args:
          state: the member's state.
          batch: this device's rows.

        Returns:
          The new state, what the step measured, and the gradients of the summed loss.
        """
        spec, target = self.spec, self.spec.task.target
        regularization = training_regularization(spec, state, batch)
        # Every device keeps the states of all rows of a stream: all devices return the same state.
        carry = self.axis.take_rows(state.carry, batch.rows_B)

        def loss(params: PyTree, batch: Batch) -> tuple[jax.Array, LossParts]:
            # Frozen parts get no gradients here, and not zeros in the optimizer: they count neither
            # in the norm that is clipped nor in the one that is reported.
            params = stop_gradients(spec.optim.freeze, params)
            outputs, states, features = forward(
                spec, params, batch, regularization, carry, self.device
            )
            # A sum, not a mean: see `_reduce`.
            total, count, sums = loss_and_metrics(spec, outputs, batch)
            if spec.train.penalized:
                total += penalty(spec.train, features, batch)
            # Only a stream continues from its states; other tasks would output them for nothing.
            return total, LossParts(count, sums, None if carry is None else states)

        # Differentiated inside the switch: what the backward pass reads has the length of a bucket.
        value_and_grad = partial(jax.value_and_grad(loss, has_aux=True), state.params)
        gradients = switch_on_length(self._buckets(batch), target.every_step, value_and_grad)
        (total, parts), grads = gradients(batch)
        report, grads, count = self._reduce(batch, total, parts, grads)
        carry = self.axis.merge_rows(parts.carry, state.carry, batch.rows_B)
        state, report = self._update(state, grads, count, report)
        return state._replace(carry=carry), report, grads

    def batch(self, train: Split | None, state: TrainState, order_N: jax.Array | None) -> Batch:
        """Returns this device's rows of the batch of the next step.

        Args:
          train: the training split; None for a task that generates its training data.
          state: the member's state.
          order_N: the order of the examples in the present epoch, or None to compute it.
        """
        size = self.spec.train.batch_size
        rows_B, sample = self.axis.rows(size), self.spec.task.sample
        order_N = order_of_epoch(self.spec, train, state) if order_N is None else order_N
        return train_batch(sample, train, state.data_seed, state.step, rows_B, size, order_N)

    def run_chunk(
        self, state: TrainState, splits: Splits, steps: jax.Array, ending: jax.Array
    ) -> tuple[TrainState, ChunkReport]:
        """Does several optimizer steps, then an evaluation if one is due; nothing once stopped.

        Several calls that pause do the same as one call, bit for bit.

        Args:
          state: the member's state.
          splits: the data: `train` unless it is generated, and `valid`.
          steps: how many steps, int32; those past the end of the run are left out. An argument,
            not a constant of the program: one compilation serves chunks of every length.
          ending: PAUSE, REPORT or EVALUATE, int32.

        Returns:
          The new state, and what was measured since the last call that did not pause.
        """
        spec, train = self.spec, splits.get("train")
        evaluating, reporting = ending == EVALUATE, ending != PAUSE

        def run(state: TrainState) -> tuple[TrainState, ChunkReport]:
            # Members of a cohort may have runs of different length.
            steps_left = jnp.minimum(steps, state.total - state.step)

            def one_step(_: jax.Array, carry: PyTree) -> PyTree:
                state, total, fault, order_N = carry
                order_N = next_order(spec, train, state, order_N)
                batch = self.batch(train, state, order_N)
                state, report, _ = self.step(state, batch)
                fault = first_fault(fault, state.step, report)
                return state, jax.tree.map(jnp.add, total, report), fault, order_N

            before = state.interval
            start = state, before.total, before.fault, order_of_epoch(spec, train, state)
            # A loop of unknown length in the program: the host waits once per chunk, not per step.
            # Named, so that `lstm-lab compile` finds the loop in the text of a compiled program.
            with jax.named_scope(STEPS_SCOPE):
                state, total, fault, _ = lax.fori_loop(0, steps_left, one_step, start)
            params = self._judged_weights(state)
            valid = self.evaluate_if(evaluating, params, state.hparams, splits["valid"])
            interval = RowSoFar(before.steps + steps_left, total, fault)
            report = self._chunk_report(state, interval, valid)
            # A call that pauses judges nothing: a run stops at the end of a row.
            selected = self._select(state, params, report, evaluating)
            stopped = jnp.where(reporting, selected.stopped, state.stopped)
            interval = jax.tree.map(partial(jnp.where, reporting), self._no_steps(), interval)
            state = selected._replace(stopped=stopped, interval=interval)
            times = jnp.int32(0) if state.rollback is None else state.rollback.times
            return state, report._replace(reached=state.step, rollbacks=times)

        def skip(state: TrainState) -> tuple[TrainState, ChunkReport]:
            # The same structure as `run` returns; the host ignores the values of stopped lanes.
            nan, metrics, none = jnp.float32(jnp.nan), nan_metrics(spec), jnp.int32(0)
            rates = (nan, nan, nan, nan)
            counts = (none, state.step, none, jnp.float32(0))
            return state, ChunkReport(*counts, *rates, metrics, metrics, no_fault())

        return lax.cond(state.stopped == RUNNING, run, skip, state)

    def evaluate(
        self, params: PyTree, hparams: dict[str, jax.Array], split: Split
    ) -> dict[str, jax.Array]:
        """Computes the metrics over a split.

        Args:
          params: parameters of the model.
          hparams: the member's numbers, for the rates of its regularizers.
          split: the data.

        Returns:
          The mean of each metric over all predictions.
        """
        buckets = length_buckets(self.spec, split) if self.cut_to_length else ()
        regularization = Regularization(regularization_rates(hparams))
        return evaluate_split(
            self.spec, params, regularization, split, buckets, self.axis, self.device
        )

    def evaluate_if(
        self, condition: jax.Array, params: PyTree, hparams: dict[str, jax.Array], split: Split
    ) -> dict[str, jax.Array]:
        """Computes what `evaluate` does if a condition holds, else NaN.

        NaN costs nothing, except under `vmap` with a condition of each lane: both are computed.
        """
        return lax.cond(
            condition,
            lambda: self.evaluate(params, hparams, split),
            lambda: nan_metrics(self.spec),
        )

    # ---- the parts of a step

    def _buckets(self, batch: Batch) -> tuple[int, ...]:
        """Returns the lengths at which a training batch may end."""
        # Chunks of a stream and generated examples all have about the same length.
        uniform = self.spec.task.is_stream or self.spec.task.sample is not None
        if not self.cut_to_length or uniform:
            return ()
        return length_buckets(self.spec, batch.examples)

    def _reduce(
        self, batch: Batch, total: jax.Array, parts: LossParts, grads: PyTree
    ) -> tuple[StepReport, PyTree, jax.Array]:
        """Sums loss and gradients over devices; returns also what to divide the gradients by.

        The *sum* of the loss was differentiated. One sum over devices and one division follow, so
        that ragged batches weigh as they would on one device, and no device waits for another
        inside the loop over time.
        """
        count = parts.predictions
        if self.spec.train.loss_reduction == "sum_time_mean_batch":
            count = batch.weight_B.sum()
        total, metrics, grads, count, tokens = self.axis.sum(
            (total, parts.metrics, grads, count, count_tokens(batch))
        )
        count = jnp.maximum(count, 1.0)
        zero = jnp.float32(0)
        return StepReport(total / count, metrics, zero, zero, tokens), grads, count

    def _update(
        self, state: TrainState, grads: PyTree, count: jax.Array, report: StepReport
    ) -> tuple[TrainState, StepReport]:
        """Applies the optimizer; completes the report by the norms of gradient and update."""
        spec = self.spec
        if self.padded:
            # Zero gradients keep the weights of padded units at zero, so that nothing reads them.
            grads = padding.mask_padding(padding.unit_axes(spec), grads, state.units)
        updated = apply_gradients(
            spec.optim,
            state.hparams,
            self.schedule_length,
            grads,
            count,
            state.opt_state,
            state.params,
            self.device,
        )
        params = updated.params
        # Without averaging it is None, and `and` keeps it None.
        average = state.average and weight_averaging.add(state.average, params)
        ratio = relative_size(updated.update_norm, updated.weight_norm)
        report = report._replace(grad_norm=updated.grad_norm, update_ratio=ratio)
        state = state._replace(
            step=state.step + 1, params=params, opt_state=updated.opt_state, average=average
        )
        return state, report

    # ---- the parts of a chunk

    def _no_steps(self) -> RowSoFar:
        zero = jnp.float32(0)
        total = StepReport(zero, zero_metrics(self.spec.task.target), zero, zero, zero)
        return RowSoFar(jnp.int32(0), total, no_fault())

    def _chunk_report(
        self, state: TrainState, interval: RowSoFar, valid: dict[str, jax.Array]
    ) -> ChunkReport:
        """Returns the means over the steps of an interval from their added-up reports."""
        steps, total, fault = interval
        spec, count = self.spec, jnp.maximum(steps, 1)
        return ChunkReport(
            steps=steps,
            reached=state.step,
            rollbacks=jnp.int32(0),
            tokens=total.tokens,
            lr=self._rate(state, state.step),
            loss=total.loss / count,
            grad_norm=total.grad_norm / count,
            update_ratio=total.update_ratio / count,
            train=means(spec.task.target, total.sums),
            valid=valid,
            fault=fault._replace(lr=self._rate(state, fault.step)),
        )

    def _rate(self, state: TrainState, step: jax.Array) -> jax.Array:
        """Returns the learning rate of a step, counted from 1."""
        # With accumulated gradients the schedule counts updates, not batches.
        updates = -(-step // self.spec.optim.accumulate)
        shape = schedule(self.spec.optim, self.schedule_length)
        return jnp.asarray(state.hparams["lr"] * shape(updates - 1))

    def _judged_weights(self, state: TrainState) -> PyTree:
        """Returns the weights that are evaluated and kept: averaged ones, once they exist."""
        optim, params, hparams = self.spec.optim, state.params, state.hparams
        if optim.evaluate_at == "lookahead":
            return weight_averaging.weights(state.average, params)
        rate = learning_rate(optim, hparams, self.schedule_length)(state.step - 1)
        return before_lookahead(optim, hparams, rate, state.opt_state, params)

    def _select(
        self, state: TrainState, params: PyTree, report: ChunkReport, evaluated: jax.Array
    ) -> TrainState:
        """Keeps the best weights, applies the plateau rule, and decides whether to stop."""
        spec, value = self.spec, report.valid[self.spec.metric]
        # Averaging compares "lower is better"; a metric such as accuracy changes its sign.
        signed = value if spec.direction == "min" else -value
        average = state.average and weight_averaging.observe(state.average, signed, evaluated)
        best = update_best(spec, state.best, value, state.step, params, evaluated)
        after = state._replace(
            best=best,
            hparams=reduce_on_plateau(spec, state.hparams, best.stale, evaluated),
            average=average,
        )
        stopped = should_stop(spec, after, report.loss, report.valid, evaluated)
        after = after._replace(stopped=stopped)
        if state.rollback is None:
            return after
        return rollback.apply(spec.train, state, after, evaluated)
