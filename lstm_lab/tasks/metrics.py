"""Losses and metrics of each kind of target, as (sum, count) pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.tasks.base import Bernoulli, Categorical, Real, Target
from lstm_lab.tasks.batches import Batch
from lstm_lab.tasks.span_f1 import span_f1

MetricSums = dict[str, tuple[jax.Array, jax.Array]]

DIRECTIONS = {
    "nll": "min",
    "mse": "min",
    "mae": "min",
    "perplexity": "min",
    "bits": "min",
    "accuracy": "max",
    "macro_f1": "max",
    "span_f1": "max",
}


def metric_names(target: Target) -> tuple[str, ...]:
    """Returns the names of a target's metrics; the first is the loss."""
    match target:
        case Categorical():
            return ("nll", *target.metrics)
        case Bernoulli(size=1):
            return ("nll", "accuracy")
        case Bernoulli():
            return ("nll",)
        case Real():
            return ("mse", "mae")


def ordered_metrics(target: Target, values: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics as floats, the target's own first; what a compiled call gives is sorted."""
    names = dict.fromkeys([*metric_names(target), *values])
    return {name: float(values[name]) for name in names if name in values}


def _summed_metrics(target: Target) -> tuple[str, ...]:
    """Returns the metrics that are sums over counts; others derive from them."""
    return tuple(name for name in metric_names(target) if name not in ("perplexity", "bits"))


def zero_metrics(target: Target) -> MetricSums:
    """Returns sums of nothing."""

    def nothing(name: str) -> jax.Array:
        return jnp.zeros((target.size,) if name == "macro_f1" else ())

    return {name: (nothing(name), nothing(name)) for name in _summed_metrics(target)}


def means(target: Target, total: MetricSums) -> dict[str, jax.Array]:
    """Divides sums by counts, and derives what is a function of them.

    perplexity: exp of the mean nll; bits: the mean nll / ln 2; macro_f1: the mean of F1 over the
    classes that occur, in truth or prediction.
    """
    metrics = {}
    for name, (amount, count) in total.items():
        # Per class where there are several: the mean over those that occur.
        ratio = jnp.where(count > 0, amount / jnp.maximum(count, 1e-9), 0.0)
        metrics[name] = ratio.sum() / jnp.maximum((count > 0).sum(), 1)
    if "nll" in metrics:
        metrics |= {"perplexity": jnp.exp(metrics["nll"]), "bits": metrics["nll"] / math.log(2)}
    return {name: metrics[name] for name in metric_names(target)}


def loss_sum(
    target: Target, logits: jax.Array, batch: Batch, smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Computes what training minimizes: the first of the metrics, as sum and count.

    Of classes, examples may have weights w, and labels may be smoothed by e:
    sum w ((1 - e) nll - e mean_C log p) over sum w.

    Args:
      target, logits, batch: as in `metric_sums`.
      smoothing: e.

    Returns:
      The float32 sum and count.

    Source: Szegedy et al. 2016, Rethinking the Inception architecture, section 7.
    """
    name = metric_names(target)[0]
    if not isinstance(target, Categorical) or not (target.weighted or smoothing):
        return metric_sums(target, logits, batch)[name]
    log_p = jax.nn.log_softmax(logits)
    nll = -jnp.take_along_axis(log_p, batch.examples.y[..., None], -1)[..., 0]
    loss = (1.0 - smoothing) * nll - smoothing * log_p.mean(-1)
    weight = _weights(target, batch, logits.shape)
    if target.weighted:
        weights_B = batch.examples.weights
        assert weights_B is not None
        weight = weight * weights_B.reshape(-1, *(1,) * (weight.ndim - 1))
    return jnp.where(weight > 0, loss * weight, 0.0).sum(), weight.sum()


def metric_sums(target: Target, logits: jax.Array, batch: Batch) -> MetricSums:
    """Computes a batch's metrics.

    nll: negative log-likelihood in nats, summed over the C numbers of a Bernoulli target;
    accuracy: share of right answers; mse, mae: squared and absolute error, averaged over the C
    numbers; macro_f1: by class, twice the right answers over predicted and true ones; span_f1: the
    same of whole spans.
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
    weight = _weights(target, batch, logits.shape)
    class_sums = {}
    match target:
        case Categorical():
            log_p = jax.nn.log_softmax(logits)
            nll = -jnp.take_along_axis(log_p, y[..., None], -1)[..., 0]
            guess = logits.argmax(-1)
            values = {"nll": nll, "accuracy": guess == y}
            if "macro_f1" in target.metrics:
                class_sums["macro_f1"] = _f1_by_class(guess, y, weight, target.size)
            if "span_f1" in target.metrics:
                class_sums["span_f1"] = span_f1(target.labels, guess, y, weight)
        case Bernoulli():
            sign = 1.0 - 2.0 * y
            nll = jax.nn.softplus(sign * logits).sum(-1)
            values = {"nll": nll, "accuracy": ((logits > 0) == (y > 0.5)).all(-1)}
        case Real():
            values = {
                "mse": jnp.square(logits - y).mean(-1),
                "mae": jnp.abs(logits - y).mean(-1),
            }
    count = weight.sum()
    # where, not a product: a filler row's NaN must not reach the sum.
    sums = {
        name: (jnp.where(weight > 0, value, 0.0).astype(jnp.float32).sum(), count)
        for name, value in values.items()
    }
    return {name: (sums | class_sums)[name] for name in _summed_metrics(target)}


def _f1_by_class(
    guess: jax.Array, y: jax.Array, weight: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Returns twice the right answers of each class [C], and its predicted and true ones."""
    guessed, true = (jax.nn.one_hot(a, size) * weight[..., None] for a in (guess, y))
    axes = tuple(range(guess.ndim))
    return 2.0 * (guessed * true).sum(axes), (guessed + true).sum(axes)


def _weights(target: Target, batch: Batch, shape: tuple[int, ...]) -> jax.Array:
    """Returns 1 where a prediction counts, [B] or [B,T]."""
    if not target.every_step:
        return batch.weight_B
    lengths = batch.examples.lengths
    if lengths is None:
        return jnp.broadcast_to(batch.weight_B[:, None], shape[:2])
    real_BT = jnp.arange(shape[1])[None] < lengths[:, None]
    return batch.weight_B[:, None] * real_BT
