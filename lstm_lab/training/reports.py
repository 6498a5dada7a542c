"""What training measures: of a batch's loss, of one optimizer step, of one compiled call.

`step.py` fills them in; `session.py` writes a `ChunkReport` to the record.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.models.recurrent import States
from lstm_lab.tasks import Batch, MetricSums


class StepReport(NamedTuple):
    """What one optimizer step measured. The reports of several steps are added up.

    Attributes:
      loss: the loss that was minimized, float32.
      sums: sums and counts of the metrics on the batch.
      grad_norm: global norm of the gradient.
      update_ratio: norm of the update over the norm of the parameters.
      tokens: real time steps in the batch, float32.
    """

    loss: jax.Array
    sums: MetricSums
    grad_norm: jax.Array
    update_ratio: jax.Array
    tokens: jax.Array


class Fault(NamedTuple):
    """The first step of an interval whose loss or gradient norm is not finite.

    Attributes:
      step: its number, from 1, int32; 0 if there is none.
      loss, grad_norm: what the step measured.
      lr: its learning rate.
    """

    step: jax.Array
    loss: jax.Array
    grad_norm: jax.Array
    lr: jax.Array


# How a compiled call ends. PAUSE: in the middle of a row of the record. REPORT: with the row.
# EVALUATE: with the row and an evaluation.
PAUSE, REPORT, EVALUATE = range(3)


class RowSoFar(NamedTuple):
    """The steps since the last row of the record; a row may take several compiled calls.

    The sums are carried from call to call, so that the row has the same bits as with one call.

    Attributes:
      steps: their number, int32.
      total: their reports, added up.
      fault: the first of them that went wrong.
    """

    steps: jax.Array
    total: StepReport
    fault: Fault


class ChunkReport(NamedTuple):
    """What the optimizer steps since the last row of the record measured.

    Attributes:
      steps: optimizer steps done, int32.
      reached: the member's step after the call, int32; an earlier one after a rollback.
      rollbacks: rollbacks of the member so far, int32.
      tokens: real time steps read, float32.
      lr: learning rate of the last step.
      loss, grad_norm, update_ratio: means over the steps.
      train: metrics over the batches of the steps.
      valid: metrics on the validation split, NaN if it was not evaluated.
      fault: the first step that went wrong.
    """

    steps: jax.Array
    reached: jax.Array
    rollbacks: jax.Array
    tokens: jax.Array
    lr: jax.Array
    loss: jax.Array
    grad_norm: jax.Array
    update_ratio: jax.Array
    train: dict[str, jax.Array]
    valid: dict[str, jax.Array]
    fault: Fault


def no_fault() -> Fault:
    """Returns the fault of a call without steps: none."""
    zero = jnp.float32(0)
    return Fault(jnp.int32(0), zero, zero, zero)


def first_fault(fault: Fault, step: jax.Array, report: StepReport) -> Fault:
    """Returns the fault so far; if there is none, that of the step that has just been done.

    Args:
      fault: the fault of the steps before.
      step: the number of the step, from 1, int32.
      report: what the step measured.
    """
    wrong = ~(jnp.isfinite(report.loss) & jnp.isfinite(report.grad_norm))
    first = wrong & (fault.step == 0)
    now = Fault(step, report.loss, report.grad_norm, fault.lr)
    return jax.tree.map(lambda new, old: jnp.where(first, new, old), now, fault)


class LossParts(NamedTuple):
    """What comes with the loss of a batch, before the division by the count.

    Attributes:
      predictions: number of predictions that the loss is summed over, float32.
      metrics: sums and counts of the metrics.
      carry: for a stream, the final states of the recurrent layers; else None.
    """

    predictions: jax.Array
    metrics: MetricSums
    carry: States | None


def relative_size(update: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the norm of an update over that of the weights; 1 for the first update of zeros."""
    none = weights == 0
    return jnp.where(none, jnp.sign(update), update / jnp.where(none, 1.0, weights))


def count_tokens(batch: Batch) -> jax.Array:
    """Returns the number of real time steps in a batch, float32."""
    lengths = batch.examples.lengths
    length_B = batch.examples.x.shape[1] if lengths is None else lengths.astype(jnp.float32)
    return (batch.weight_B * length_B).sum()
