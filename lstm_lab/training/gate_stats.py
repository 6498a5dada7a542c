"""Statistics of gates and states on real sequences, for TensorBoard and other loggers.

In: a member's parameters and a split. Out: `LayerStats` by layer, and the values and images by name
that loggers receive. They are measured outside the compiled program of the cohort and by the
reference backend, since the fast backends return no gates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.masks import Rates
from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import Examples, Split, first_examples, longest, rows_that_fit
from lstm_lab.tasks.examples import Array
from lstm_lab.training.loggers.base import Histogram, Value
from lstm_lab.utils.types import PyTree

ROWS = 32  # sequences that are measured: the first ones of the validation split
BINS = 40
GATES = ("i", "f", "o", "r", "z")  # gates with values between 0 and 1
LOG10_TIME_RANGE = (-1.0, 4.0)  # decades of time constants, in steps


class GateStats(NamedTuple):
    """A gate over all real steps and units.

    Attributes:
      mean: of its values.
      below, above: shares of values below 0.1 and above 0.9.
      counts: values in each of BINS equal bins of [0, 1].
    """

    mean: Array
    below: Array
    above: Array
    counts: Array


class LayerStats(NamedTuple):
    """One direction of a layer.

    Attributes:
      gates: statistics by gate.
      maps: each gate's values [T,H] over the first sequence, NaN after its end.
      c_norm: mean norm of the cell state over real steps; None for a cell without one.
      time_counts: time constants -1 / log f in each of BINS equal bins of their logarithm over
        LOG10_TIME_RANGE; None for a cell without a forget gate.
    """

    gates: dict[str, GateStats]
    maps: dict[str, Array]
    c_norm: Array | None
    time_counts: Array | None


def measure_gates(spec: RunSpec, params: PyTree, split: Split) -> dict[str, LayerStats]:
    """Measures a member's gates and states.

    Args:
      spec: the run.
      params: its parameters at its own size.
      split: the sequences, or the start of a stream; host arrays.

    Returns:
      Statistics by layer, such as `layer_0` or `layer_0_reverse`; host arrays.
    """
    examples = first_examples(split, rows_that_fit(longest(split), ROWS))
    measure, rates = _compiled(program_spec(spec)), rates_of(spec.model)
    stats: dict[str, LayerStats] = jax.device_get(measure(params, examples, rates))
    return stats


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec) -> Callable[[PyTree, Examples, Rates], dict[str, LayerStats]]:
    # Tracing makes the recurrence take the reference backend.
    model = build_model(spec, trace=True)

    # The rates are an argument, because runs with other rates share the function.
    def measure(params: PyTree, examples: Examples, rates: Rates) -> dict[str, LayerStats]:
        x, lengths = examples.x, examples.lengths
        _, variables = model.apply(
            {"params": params}, x, lengths, Regularization(rates), mutable=["traces"]
        )
        T, B = x.shape[1], x.shape[0]
        length_B = jnp.full(B, T) if lengths is None else lengths
        real_TB = jnp.arange(T)[:, None] < length_B[None]
        traces = variables["traces"]["lstm"]
        return {name: _layer_stats(traced, real_TB) for name, (traced,) in traces.items()}

    return jit_with_precision(spec, measure)


def _layer_stats(traced: dict[str, jax.Array], real_TB: jax.Array) -> LayerStats:
    gates = {name: traced[name] for name in GATES if name in traced}
    first_T1 = real_TB[:, 0, None]
    c_TBH, f_TBH = traced.get("c"), gates.get("f")
    c_norm = time_counts = None
    if c_TBH is not None:
        norm_TB = jnp.sqrt(jnp.square(c_TBH).sum(-1))
        # Padding has zero norm and would pull the mean down.
        c_norm = jnp.where(real_TB, norm_TB, 0.0).sum() / real_TB.sum()
    if f_TBH is not None:
        # A unit with forget gate f keeps exp(-t / tau) of its state, with tau = -1 / log f.
        time_TBH = -1.0 / jnp.log(jnp.clip(f_TBH.astype(jnp.float32), 1e-6, 1.0 - 1e-6))
        time_counts = _histogram(jnp.log10(time_TBH), real_TB, LOG10_TIME_RANGE)
    return LayerStats(
        {name: _gate_stats(values, real_TB) for name, values in gates.items()},
        {name: jnp.where(first_T1, values[:, 0], jnp.nan) for name, values in gates.items()},
        c_norm,
        time_counts,
    )


def _gate_stats(values_TBH: jax.Array, real_TB: jax.Array) -> GateStats:
    real_TBH = jnp.broadcast_to(real_TB[:, :, None], values_TBH.shape)
    count = real_TBH.sum()

    def mean(values: jax.Array) -> jax.Array:
        return jnp.where(real_TBH, values, 0.0).sum() / count

    values_TBH = values_TBH.astype(jnp.float32)
    return GateStats(
        mean(values_TBH),
        mean((values_TBH < 0.1).astype(jnp.float32)),
        mean((values_TBH > 0.9).astype(jnp.float32)),
        _histogram(values_TBH, real_TB, (0.0, 1.0)),
    )


def _histogram(values_TBH: jax.Array, real_TB: jax.Array, bounds: tuple[float, float]) -> jax.Array:
    """Counts real values in BINS equal bins; values outside the bounds go to the outer bins."""
    low, high = bounds
    bins = jnp.clip((values_TBH - low) / (high - low) * BINS, 0, BINS - 1).astype(jnp.int32)
    real_TBH = jnp.broadcast_to(real_TB[:, :, None], values_TBH.shape)
    return jnp.zeros(BINS, jnp.int32).at[bins].add(real_TBH.astype(jnp.int32))


def gate_values(layers: dict[str, LayerStats]) -> dict[str, Value]:
    """Returns the statistics as numbers and histograms by name, as loggers receive them.

    Args:
      layers: as `measure_gates` returns them.

    Example:
      gate_values(layers)["gates/layer_0/f/mean"]
    """
    named: dict[str, Value] = {}
    for layer, stats in layers.items():
        for gate, values in stats.gates.items():
            name = f"gates/{layer}/{gate}"
            named[f"{name}/mean"] = float(values.mean)
            named[f"{name}/frac_below_0.1"] = float(values.below)
            named[f"{name}/frac_above_0.9"] = float(values.above)
            named[f"{name}/values"] = Histogram(np.asarray(values.counts), 0.0, 1.0)
        if stats.c_norm is not None:
            named[f"state/{layer}/c_norm"] = float(stats.c_norm)
        if stats.time_counts is not None:
            counts = np.asarray(stats.time_counts)
            named[f"state/{layer}/log10_time_constant"] = Histogram(counts, *LOG10_TIME_RANGE)
    return named


def gate_images(layers: dict[str, LayerStats]) -> dict[str, np.ndarray]:
    """Returns an image [H,T,3] of each gate over time by name, for one sequence.

    Args:
      layers: as `measure_gates` returns them.

    Example:
      gate_images(layers)["gates/layer_0/f"].shape
    """
    # Height, width, color: units run down, time runs to the right.
    return {
        f"gates/{layer}/{gate}": gate_image(np.asarray(values_TH))
        for layer, stats in layers.items()
        for gate, values_TH in stats.maps.items()
    }


def gate_image(values_TH: np.ndarray) -> np.ndarray:
    """Returns a gate over time as an image [H,T,3]: dark at 0, bright at 1, gray after the end."""
    # Five colors of viridis, which keeps its order in gray and for color-blind readers.
    colors = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])
    levels = np.linspace(0.0, 1.0, len(colors))
    values_HT = values_TH.T.astype(np.float64)
    known = np.nan_to_num(values_HT)
    image = np.stack([np.interp(known, levels, colors[:, k]) for k in range(3)], -1)
    image[np.isnan(values_HT)] = 128
    return image.astype(np.uint8)
