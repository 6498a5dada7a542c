"""Metrics over a whole split: sums over its batches, then one division.

`TrainStep.evaluate` calls `evaluate_split`; the division is `tasks.metrics.means`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.recurrent import States
from lstm_lab.models.regularization import Regularization
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import (
    Batch,
    MetricSums,
    Split,
    Stored,
    Stream,
    chunk,
    gather_batch,
    means,
    metric_names,
    rows_that_fit,
    zero_metrics,
)
from lstm_lab.training.device_axis import DeviceAxis
from lstm_lab.training.forward import Forward, forward, metrics, switch_on_length
from lstm_lab.training.state import zero_states
from lstm_lab.utils.types import PyTree

# Rows of an evaluation batch, about. More rows amortize the loop over time but need memory for the
# activations of all of them.
EVAL_ROWS = 256
# Rows of a batch that ends at its longest sequence: few, so that its rows have similar lengths.
EVAL_ROWS_BY_LENGTH = 16


def evaluate_split(
    spec: RunSpec,
    params: PyTree,
    regularization: Regularization,
    split: Split,
    buckets: tuple[int, ...],
    axis: DeviceAxis,
    device: DeviceType | None = None,
) -> dict[str, jax.Array]:
    """Computes the metrics over a split.

    Args:
      spec: the run.
      params: parameters of the model.
      regularization: rates of the regularizers, without keys.
      split: the data.
      buckets: lengths of batches as `forward.length_buckets` gives them; with them the examples are
        read in order of their length.
      axis: the devices that share each batch.
      device: as in `forward.forward`.

    Returns:
      The mean of each metric over all predictions.
    """

    def run(batch: Batch, states: States | None = None) -> Forward:
        return forward(spec, params, batch, regularization, states, device)

    if isinstance(split, Stream):
        sums = _sum_over_stream(
            spec, run, partial(zero_states, spec, params, device=device), split, axis
        )
    else:
        sums = _sum_over_examples(spec, run, split, buckets, axis)
    return means(spec.task.target, axis.sum(sums))


def nan_metrics(spec: RunSpec) -> dict[str, jax.Array]:
    """Returns NaN for each metric: nothing was measured."""
    return {name: jnp.float32(jnp.nan) for name in metric_names(spec.task.target)}


def _sum_over_examples(
    spec: RunSpec,
    run: Callable[[Batch], Forward],
    examples: Stored,
    buckets: tuple[int, ...],
    axis: DeviceAxis,
) -> MetricSums:
    target = spec.task.target
    N = examples.rows
    order_N = jnp.argsort(examples.lengths) if buckets and examples.lengths is not None else None
    most = rows_that_fit(examples.steps, EVAL_ROWS if order_N is None else EVAL_ROWS_BY_LENGTH)
    batches = -(-N // most)
    # Equal batches instead of full ones and a short rest: less padding, one shape.
    size = -(-N // (batches * axis.size)) * axis.size
    rows_B = axis.rows(size)

    def measure_batch(batch: Batch) -> MetricSums:
        return metrics(spec, run(batch).outputs, batch)

    measure = switch_on_length(buckets, target.every_step, measure_batch)

    def add(total: MetricSums, index: jax.Array) -> tuple[MetricSums, None]:
        batch = gather_batch(examples, index * size + rows_B, rows_B, order_N)
        return jax.tree.map(jnp.add, total, measure(batch)), None

    total, _ = lax.scan(add, axis.vary(zero_metrics(target)), jnp.arange(batches))
    return total


def _sum_over_stream(
    spec: RunSpec,
    run: Callable[[Batch, States], Forward],
    zero: Callable[[int], States],
    stream: Stream,
    axis: DeviceAxis,
) -> MetricSums:
    """Measures a stream chunk by chunk; the states are carried from one chunk to the next."""
    target = spec.task.target
    tracks, steps = stream.tracks, stream.track_steps(stream.tracks)
    rows_B = axis.rows(-(-tracks // axis.size) * axis.size)

    def add(
        carry: tuple[MetricSums, States], index: jax.Array
    ) -> tuple[tuple[MetricSums, States], None]:
        total, states = carry
        batch = chunk(stream, index, rows_B, tracks, whole=steps % stream.T == 0)
        outputs, states, _ = run(batch, states)
        sums = metrics(spec, outputs, batch)
        return (jax.tree.map(jnp.add, total, sums), states), None

    start = zero_metrics(target), zero(len(rows_B))
    # The last chunk may be short; every symbol counts in an evaluation.
    chunks = jnp.arange(-(-steps // stream.T))
    (total, _), _ = lax.scan(add, axis.vary(start), chunks)
    return total
