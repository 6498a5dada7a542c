"""Losses and metrics of each kind of target, as (sum, count) pairs.

In: logits and a `Batch`. Out: float32 sums and counts, which are added over batches and devices;
`means` divides them once. A mean of batch means would give short batches and short sequences too
much weight. Read span_f1.py next for the F1 of spans, and trivial.py for the baselines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.tasks.base import Bernoulli, Categorical, Direction, Real, Target, Task
from lstm_lab.tasks.batches import Batch
from lstm_lab.tasks.examples import IGNORE_INDEX
from lstm_lab.tasks.span_f1 import span_f1
from lstm_lab.utils.errors import UserError

MetricSums = dict[str, tuple[jax.Array, jax.Array]]


class ClassScores(NamedTuple):
    """What losses and metrics read of the logits of each prediction of a class; [B] or [B,T].

    Attributes:
      nll: negative log-likelihood of the true class, in nats.
      mean_nll: the mean of that of all classes, for label smoothing.
      guess: the most probable class.

    Example:
      scores = class_scores(jnp.zeros((3, 10)), jnp.array([0, 1, 2]))
      scores.nll  # [2.3, 2.3, 2.3]: ln 10
    """

    nll: jax.Array
    mean_nll: jax.Array
    guess: jax.Array

    def smoothed_nll(self, smoothing: float) -> jax.Array:
        """Returns (1 - e) nll + e mean_nll for label smoothing e."""
        if not smoothing:
            return self.nll
        return (1.0 - smoothing) * self.nll + smoothing * self.mean_nll


def class_scores(logits: jax.Array, y: jax.Array) -> ClassScores:
    """Returns the scores of predictions of classes.

    Args:
      logits: [...,C].
      y: the true classes [...].

    Example:
      class_scores(jnp.array([[2.0, 0.0]]), jnp.array([0])).guess  # [0]
    """
    log_p = jax.nn.log_softmax(logits)
    # IGNORE_INDEX reads the last class, whose score is finite; the weight of such a step is 0.
    nll = -jnp.take_along_axis(log_p, y[..., None], -1)[..., 0]
    return ClassScores(nll, -log_p.mean(-1), logits.argmax(-1))


# Whether smaller or larger is better, for the metrics that may choose a checkpoint. A task declares
# its final metrics, such as the AUC, itself.
DIRECTIONS: dict[str, Direction] = {
    "nll": "min",
    "mse": "min",
    "mae": "min",
    "perplexity": "min",
    "bits": "min",
    "accuracy": "max",
    "last_accuracy": "max",
    "sequence_accuracy": "max",
    "macro_f1": "max",
    "span_f1": "max",
}


def metric_names(target: Target) -> tuple[str, ...]:
    """Returns the names of the metrics of a target; the first one is the loss.

    Example:
      metric_names(Categorical(10))  # ("nll", "accuracy")
    """
    # Accuracy means that all numbers of a prediction are right, which is rarely so for 88 notes.
    # It is therefore a metric of a single binary number only.
    match target:
        case Categorical():
            return ("nll", *target.metrics)
        case Bernoulli(size=1):
            return ("nll", "accuracy")
        case Bernoulli():
            return ("nll",)
        case Real():
            return ("mse", "mae")


def metric_directions(task: Task) -> dict[str, Direction]:
    """Returns the metrics of a task's test split, and whether their "max" or "min" is best.

    Args:
      task: the task.

    Raises:
      UserError: if a task of a user declares another direction.

    Example:
      metric_directions(JSB())  # {"nll": "min", "piece_nll": "min"}
    """
    for name, direction in task.final_metric_directions.items():
        if direction not in ("min", "max"):
            raise UserError(
                f"task {task.name}: final_metric_directions: {name}: got {direction!r}, expected "
                "'min' or 'max'"
            )
    known = {name: DIRECTIONS[name] for name in metric_names(task.target)}
    return {**known, **task.final_metric_directions}


def ordered_metrics(target: Target, values: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics as floats, those of the target first and in its order.

    Args:
      target: what the model predicts.
      values: the metrics by name, and possibly others, such as the final metrics.

    Example:
      ordered_metrics(Real(1), {"mae": 0.2, "mse": 0.1})  # {"mse": 0.1, "mae": 0.2}
    """
    # JAX sorts the keys of a dict that a compiled call returns.
    names = dict.fromkeys([*metric_names(target), *values])
    return {name: float(values[name]) for name in names if name in values}


def _summed_metrics(target: Target) -> tuple[str, ...]:
    """Returns the metrics that are sums over counts; `means` derives the others from them."""
    # Perplexity is exp of the mean NLL of the whole split, and not a mean of perplexities.
    return tuple(name for name in metric_names(target) if name not in ("perplexity", "bits"))


def zero_metrics(target: Target) -> MetricSums:
    """Returns sums and counts of zero, with the names and shapes that `metric_sums` returns.

    The loops over batches start from them, so names, shapes and dtypes must agree.

    Example:
      zero_metrics(Real(1))["mse"]  # (0, 0): a sum and a count
    """

    def nothing(name: str) -> jax.Array:
        return jnp.zeros((target.size,) if name == "macro_f1" else ())

    return {name: (nothing(name), nothing(name)) for name in _summed_metrics(target)}


def means(target: Target, total: MetricSums) -> dict[str, jax.Array]:
    """Divides sums by counts, and derives the metrics that depend on these means.

    perplexity: exp of the mean nll.
    bits: mean nll / ln 2.
    macro_f1: the mean of F1 over the classes that occur, in targets or predictions.

    Args:
      target: what the model predicts.
      total: sums and counts over a whole split.

    Returns:
      The metrics in the order of `metric_names`, float32 scalars.

    Example:
      target = Categorical(4, metrics=("perplexity",))
      means(target, {"nll": (jnp.float32(0.0), jnp.float32(8.0))})  # {"nll": 0, "perplexity": 1}
    """
    metrics = {}
    for name, (amount, count) in total.items():
        # A class that never occurs has no F1; counting it as 0 would lower the score of any model.
        # `where` computes both branches; `maximum` avoids the 0 / 0 in the one that is not used.
        ratio = jnp.where(count > 0, amount / jnp.maximum(count, 1e-9), 0.0)
        metrics[name] = ratio.sum() / jnp.maximum((count > 0).sum(), 1)
    if "nll" in metrics:
        metrics |= {"perplexity": jnp.exp(metrics["nll"]), "bits": metrics["nll"] / math.log(2)}
    return {name: metrics[name] for name in metric_names(target)}


def loss_sum(
    target: Target, logits: jax.Array, batch: Batch, smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Computes the training loss, as a sum and a count.

    The loss is the first metric of the target. For classes, examples may have weights w, and labels
    may be smoothed by e: sum w ((1 - e) nll - e mean_C log p) over sum w.

    Args:
      target, logits, batch: as in `metric_sums`.
      smoothing: e, at least 0 and below 1.

    Returns:
      The float32 sum and count.

    Example:
      total, count = loss_sum(Categorical(10), logits_BC, batch, smoothing=0.1)
      loss = total / count

    Source: Szegedy et al. 2016, Rethinking the Inception architecture, section 7.
    """
    # Weights and smoothing belong to the loss alone. The metric `nll` stays comparable between runs
    # that train with and without them.
    name = metric_names(target)[0]
    if not isinstance(target, Categorical) or not (target.weighted or smoothing):
        return metric_sums(target, logits, batch)[name]
    loss = class_scores(logits, batch.examples.y).smoothed_nll(smoothing)
    weight = loss_weights(target, batch)
    return jnp.where(weight > 0, loss * weight, 0.0).sum(), weight.sum()


def loss_weights(target: Categorical, batch: Batch) -> jax.Array:
    """Returns the weight of each prediction of a class in the training loss, [B] or [B,T].

    Args:
      target: what the model predicts.
      batch: the examples, with their weights if the target is weighted.

    Example:
      loss_weights(Categorical(10), batch)  # 1, and 0 in rows that only fill the batch
    """
    weight = _weights(target, batch)
    if not target.weighted:
        return weight
    weights_B = batch.examples.weights
    assert weights_B is not None
    # All steps of a sequence share its weight. Sum and count both contain the weights, so that
    # their ratio is a weighted mean.
    return weight * weights_B.reshape(-1, *(1,) * (weight.ndim - 1))


def metric_sums(target: Target, outputs: jax.Array | ClassScores, batch: Batch) -> MetricSums:
    """Computes the metrics of a batch.

    nll: negative log-likelihood in nats, summed over the C numbers of a Bernoulli target.
    accuracy: share of correct predictions.
    last_accuracy: the same of the last steps alone, one for each sequence.
    sequence_accuracy: share of sequences whose steps are all correct.
    mse, mae: squared and absolute error, averaged over the C numbers.
    macro_f1: for each class, twice the correct predictions over predicted plus true examples.
    span_f1: the same for whole spans.

    The count of the losses and of accuracy is the number of steps (targets at every step) or of
    sequences (one target each). Padding and classes of IGNORE_INDEX do not count.

    Args:
      target: what the model predicts.
      outputs: logits [B,C], or [B,T,C] at every step; values instead of logits for a Real target;
        for classes also their scores.
      batch: the examples and their weights.

    Returns:
      For each metric its float32 sum and count; both are [C] for macro_f1.

    Example:
      examples = Examples(x=jnp.zeros((2, 5, 1)), y=jnp.array([[1.0], [3.0]]))
      batch = Batch(examples, weight_B=jnp.ones(2), rows_B=jnp.arange(2))
      metric_sums(Real(1), jnp.array([[1.0], [5.0]]), batch)["mse"]  # (4, 2)
    """
    y = batch.examples.y
    weight = _weights(target, batch)
    class_sums: MetricSums = {}
    match target:
        case Categorical():
            scores = outputs if isinstance(outputs, ClassScores) else class_scores(outputs, y)
            guess = scores.guess
            values = {"nll": scores.nll, "accuracy": guess == y}
            class_sums = _class_sums(target, guess, y, weight)
        case Bernoulli():
            assert not isinstance(outputs, ClassScores)
            # softplus(-logit) = -log p(1) and softplus(logit) = -log p(0). The logarithm of a
            # sigmoid would be -inf where the sigmoid rounds to 0.
            sign = 1.0 - 2.0 * y
            nll = jax.nn.softplus(sign * outputs).sum(-1)
            values = {"nll": nll, "accuracy": ((outputs > 0) == (y > 0.5)).all(-1)}
        case Real():
            assert not isinstance(outputs, ClassScores)
            values = {
                "mse": jnp.square(outputs - y).mean(-1),
                "mae": jnp.abs(outputs - y).mean(-1),
            }
    count = weight.sum()
    # `where` and not a product: 0 times NaN is NaN, and a row with weight 0 may hold one.
    sums = {
        name: (jnp.where(weight > 0, value, 0.0).astype(jnp.float32).sum(), count)
        for name, value in values.items()
    }
    return {name: (sums | class_sums)[name] for name in _summed_metrics(target)}


def _class_sums(
    target: Categorical, guess: jax.Array, y: jax.Array, weight: jax.Array
) -> MetricSums:
    """Returns the metrics of classes that are no mean over predictions."""
    sums: MetricSums = {}
    if "macro_f1" in target.metrics:
        sums["macro_f1"] = _f1_by_class(guess, y, weight, target.size)
    if "span_f1" in target.metrics:
        sums["span_f1"] = span_f1(target.labels, guess, y, weight, target.scheme)
    if "last_accuracy" in target.metrics or "sequence_accuracy" in target.metrics:
        sums |= _sequence_accuracies(guess == y, weight)
    return sums


def _f1_by_class(
    guess: jax.Array, y: jax.Array, weight: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Returns, for each class [C], twice the correct predictions, and predicted plus true ones."""
    # F1 = 2 TP / (predicted + true). Both parts are sums over examples, and F1 itself is not.
    guessed, true = (jax.nn.one_hot(a, size) * weight[..., None] for a in (guess, y))
    axes = tuple(range(guess.ndim))
    return 2.0 * (guessed * true).sum(axes), (guessed + true).sum(axes)


def _sequence_accuracies(right_BT: jax.Array, weight_BT: jax.Array) -> MetricSums:
    """Returns last_accuracy and sequence_accuracy of targets at every step."""
    counts_BT = weight_BT > 0
    # `argmax` finds the first maximum, which is the last step that counts.
    last_B1 = (counts_BT * (1 + jnp.arange(counts_BT.shape[1])[None])).argmax(1, keepdims=True)
    last_right_B = jnp.take_along_axis(right_BT, last_B1, 1)[:, 0]
    all_right_B = (right_BT | ~counts_BT).all(1)
    # Rows that only fill the batch have no step that counts.
    counts_B = counts_BT.any(1)
    count = counts_B.sum().astype(jnp.float32)
    return {
        name: ((right_B & counts_B).sum().astype(jnp.float32), count)
        for name, right_B in (("last_accuracy", last_right_B), ("sequence_accuracy", all_right_B))
    }


def _weights(target: Target, batch: Batch) -> jax.Array:
    """Returns the weight of each prediction, [B] or [B,T].

    It is 0 in filler rows, in padding, and where a class is IGNORE_INDEX.
    """
    if not target.every_step:
        return batch.weight_B
    y, lengths = batch.examples.y, batch.examples.lengths
    B, T = y.shape[:2]
    weight_BT = jnp.broadcast_to(batch.weight_B[:, None], (B, T))
    if lengths is not None:
        weight_BT = weight_BT * (jnp.arange(T)[None] < lengths[:, None])
    # Also where all steps have a target, the comparison would make another program, and so change
    # the rounding.
    if isinstance(target, Categorical) and target.may_ignore:
        weight_BT = weight_BT * (y != IGNORE_INDEX)
    return weight_BT
