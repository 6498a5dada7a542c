"""What a model says of data, for one member on one device: logits, metrics, whole splits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.cells.masks import RATES
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import model_of
from lstm_lab.models.recurrent import States
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import (
    Batch,
    Examples,
    MetricSums,
    Split,
    Stream,
    chunk,
    gather_batch,
    means,
    metric_sums,
    metrics_of,
    zero_metrics,
)
from lstm_lab.train.state import empty_states

EVAL_BATCH = 256  # most rows of an evaluation batch, about
EVAL_CUT = 16  # rows of one that ends at its longest sequence
FEW = 2  # most rows of a training batch that ends at its longest sequence

Splits = dict[str, Split]


def apply(
    spec: RunSpec,
    params: Any,
    batch: Batch,
    regularization: Regularization,
    states: States | None = None,
) -> tuple[jax.Array, States]:
    """Computes a batch's logits and final states, as `apply_keeping`."""
    return apply_keeping(spec, params, batch, regularization, states)[0]


def apply_keeping(
    spec: RunSpec,
    params: Any,
    batch: Batch,
    regularization: Regularization,
    states: States | None = None,
) -> tuple[tuple[jax.Array, States], dict[str, Any]]:
    """Computes a batch's logits, with keys as in training; and the final states.

    Args:
      spec: the run.
      params: its parameters.
      batch: the examples.
      regularization: rates, and keys in training.
      states: of a stream, what the chunk before ended with.

    Returns:
      The model's logits and states; and the last layer's outputs, as `penalties.penalty` has them.
    """
    x, lengths = batch.examples.x, batch.examples.lengths
    is_start = None if states is None else batch.is_start
    source = batch.examples.source
    more: dict[str, Any] = {} if source is None else {"source": source}
    with jax.default_matmul_precision(spec.model.precision):
        found, kept = model_of(spec).apply(
            {"params": params},
            *(x, lengths, regularization, states, is_start),
            method="run",
            mutable=["features"],
            **more,
        )
    return found, kept.get("features", {})


def time_cuts(spec: RunSpec, split: Split | None) -> tuple[int, ...]:
    """Returns `train_step`'s cuts, or `evaluate`'s of its split: with few sequences at a time, or
    those of like length, most batches are far shorter than the data's longest, and each cut is
    compiled."""
    ragged = isinstance(split, Examples) and split.lengths is not None
    if not ragged or not (spec.train.bucket or spec.train.batch_size <= FEW):
        return ()
    assert isinstance(split, Examples)
    T = split.x.shape[1]
    return tuple(-(-T * part // 8) for part in (3, 4, 5, 8))


def at_cut(
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
    examples = batch.examples
    y = examples.y[:, :T] if every_step else examples.y
    return batch._replace(examples=examples._replace(x=examples.x[:, :T], y=y))


def rates(hparams: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the rates of regularisers among a member's numbers."""
    return {name: hparams[name] for name in (*RATES, "input_noise") if name in hparams}


def all_devices(sums: Any, axis_name: str | None) -> Any:
    """Sums over the devices that share a batch."""
    return sums if axis_name is None else lax.psum(sums, axis_name)


def evaluate(
    spec: RunSpec,
    params: Any,
    hparams: dict[str, jax.Array],
    split: Split,
    *,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Computes the metrics over a whole split: sums over batches, then one division.

    Args:
      spec: the cohort's spec.
      params: the parameters.
      hparams: the member's numbers, for the rates of its regularisers.
      split: the split.
      cuts: as in `train_step`; the split then goes by length, a few sequences at a time.
      axis_name: the axis over devices that share each batch, or None.

    Returns:
      The mean of each metric over all that is predicted.
    """
    regularization = Regularization(rates(hparams))
    if isinstance(split, Stream):
        total = _read_stream(spec, params, regularization, split, axis_name)
    else:
        total = _read_examples(spec, params, regularization, split, cuts, axis_name)
    return means(spec.task.target, all_devices(total, axis_name))


def _read_examples(
    spec: RunSpec,
    params: Any,
    regularization: Regularization,
    examples: Examples,
    cuts: tuple[int, ...],
    axis_name: str | None,
) -> MetricSums:
    N = examples.x.shape[0]
    order_N = jnp.argsort(examples.lengths) if cuts and examples.lengths is not None else None
    batches = -(-N // (EVAL_BATCH if order_N is None else EVAL_CUT))
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    size = -(-N // (batches * devices)) * devices
    rows_B = device_rows(size, axis_name)

    def score(batch: Batch) -> MetricSums:
        logits, _ = apply(spec, params, batch, regularization)
        return metric_sums(spec.task.target, logits, batch)

    def add(total: MetricSums, index: jax.Array) -> tuple[MetricSums, None]:
        batch = gather_batch(examples, index * size + rows_B, rows_B, order_N)
        found = at_cut(cuts, batch, spec.task.target.every_step, score)
        return jax.tree.map(jnp.add, total, found), None

    total, _ = lax.scan(
        add, varying(zero_metrics(spec.task.target), axis_name), jnp.arange(batches)
    )
    return total


def _read_stream(
    spec: RunSpec,
    params: Any,
    regularization: Regularization,
    stream: Stream,
    axis_name: str | None,
) -> MetricSums:
    """Scores a stream chunk by chunk, with the state carried."""
    tracks, steps = stream.tracks, stream.track_steps(stream.tracks)
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    rows_B = device_rows(-(-tracks // devices) * devices, axis_name)

    def add(carry: tuple[MetricSums, States], index: jax.Array) -> tuple[Any, None]:
        total, states = carry
        batch = chunk(stream, index, rows_B, tracks, whole=steps % stream.T == 0)
        logits, states = apply(spec, params, batch, regularization, states)
        found = metric_sums(spec.task.target, logits, batch)
        return (jax.tree.map(jnp.add, total, found), states), None

    nothing = zero_metrics(spec.task.target), empty_states(spec, params, len(rows_B))
    chunks = jnp.arange(-(-steps // stream.T))
    (total, _), _ = lax.scan(add, varying(nothing, axis_name), chunks)
    return total


def evaluate_where(
    spec: RunSpec,
    wanted: jax.Array,
    params: Any,
    hparams: dict[str, jax.Array],
    split: Split,
    *,
    cuts: tuple[int, ...] = (),
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Computes what `evaluate` does if it is wanted, else NaN at no cost."""
    return lax.cond(
        wanted,
        lambda: evaluate(spec, params, hparams, split, cuts=cuts, axis_name=axis_name),
        lambda: nothing_measured(spec),
    )


def nothing_measured(spec: RunSpec) -> dict[str, jax.Array]:
    """Returns NaN for each metric."""
    return {name: jnp.float32(jnp.nan) for name in metrics_of(spec.task.target)}


def varying(zeros: Any, axis_name: str | None) -> Any:
    """Returns zeros that are taken to differ between devices, as what is added to them does."""
    if axis_name is None:
        return zeros
    return jax.tree.map(lambda a: a + (0 * lax.axis_index(axis_name)).astype(a.dtype), zeros)


def device_rows(size: int, axis_name: str | None) -> jax.Array:
    """Returns this device's rows of a batch of `size` rows."""
    if axis_name is None:
        return jnp.arange(size)
    share = size // lax.axis_size(axis_name)
    return lax.axis_index(axis_name) * share + jnp.arange(share)
