"""Losses and metrics of each kind of target, as (sum, count) pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.tasks.dataset import Batch, Bernoulli, Categorical, Real, Target

Scores = dict[str, tuple[jax.Array, jax.Array]]

DIRECTIONS = {"nll": "min", "mse": "min", "accuracy": "max"}


def metrics_of(target: Target) -> tuple[str, ...]:
    """Returns the names of a target's metrics; the first is the loss."""
    match target:
        case Categorical():
            return ("nll", "accuracy")
        case Bernoulli(size=1):
            return ("nll", "accuracy")
        case Bernoulli():
            return ("nll",)
        case Real():
            return ("mse",)


def scores(target: Target, logits: jax.Array, batch: Batch) -> Scores:
    """Computes a batch's metrics.

    nll: negative log-likelihood in nats, summed over the C numbers of a Bernoulli target;
    accuracy: share of right answers; mse: squared error, averaged over the C numbers.
    The count is of steps (every-step targets) or sequences (last-step targets), so that sums and
    counts over batches divide to the mean over the split; a mean of means would be wrong for ragged
    sequences.

    Args:
      target: what comes out.
      logits: [B,C], or [B,T,C] at every step.
      batch: the examples, with weights.

    Returns:
      For each metric its float32 sum and count.
    """
    y = batch.examples.y
    match target:
        case Categorical():
            log_p = jax.nn.log_softmax(logits)
            nll = -jnp.take_along_axis(log_p, y[..., None], -1)[..., 0]
            values = {"nll": nll, "accuracy": logits.argmax(-1) == y}
        case Bernoulli():
            sign = 1.0 - 2.0 * y
            nll = jax.nn.softplus(sign * logits).sum(-1)
            values = {"nll": nll, "accuracy": ((logits > 0) == (y > 0.5)).all(-1)}
        case Real():
            values = {"mse": jnp.square(logits - y).mean(-1)}
    weight = _weights(target, batch, logits.shape)
    count = weight.sum()
    # where, not a product: a filler row's NaN must not reach the sum.
    return {
        name: (jnp.where(weight > 0, values[name], 0.0).astype(jnp.float32).sum(), count)
        for name in metrics_of(target)
    }


def _weights(target: Target, batch: Batch, shape: tuple[int, ...]) -> jax.Array:
    """Returns 1 where a prediction counts, [B] or [B,T]."""
    if not target.every_step:
        return batch.weight_B
    lengths = batch.examples.lengths
    if lengths is None:
        return jnp.broadcast_to(batch.weight_B[:, None], shape[:2])
    real_BT = jnp.arange(shape[1])[None] < lengths[:, None]
    return batch.weight_B[:, None] * real_BT
