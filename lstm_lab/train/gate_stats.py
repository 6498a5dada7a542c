"""What gates and states do on real sequences, measured at evaluations for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import model_of
from lstm_lab.tasks import Examples, Split, first_examples

ROWS = 32  # sequences measured, the first of the validation split
BINS = 40
SIGMOIDS = ("i", "f", "o", "r", "z")  # gates between 0 and 1
LOG_TIMES = (-1.0, 4.0)  # decades of time constants, in steps


class Gate(NamedTuple):
    """A gate over real steps and units.

    Attributes:
      mean: of its values.
      below, above: shares of values below 0.1 and above 0.9.
      counts: of values in BINS equal bins of [0, 1].
    """

    mean: Any
    below: Any
    above: Any
    counts: Any


class Layer(NamedTuple):
    """A layer's direction.

    Attributes:
      gates: by name.
      maps: of each gate its values [T,H] over the first sequence, NaN past its end.
      c_norm: mean over real steps of the cell state's norm; None of a cell without one.
      time_counts: of the time constants -1 / log f, in BINS equal bins of their logarithm over
        LOG_TIMES; None of a cell without forget gate.
    """

    gates: dict[str, Gate]
    maps: dict[str, Any]
    c_norm: Any
    time_counts: Any


def observe(spec: RunSpec, params: Any, split: Split) -> dict[str, Layer]:
    """Measures a member's gates and states.

    Args:
      spec: the run.
      params: its parameters, at its own size.
      split: the sequences, or a stream's beginning; host arrays.

    Returns:
      A row of measures by layer, such as `layer_0` or `layer_0_reverse`; host arrays.
    """
    few = first_examples(split, ROWS)
    return jax.device_get(_compiled(program_spec(spec))(params, few))


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec) -> Callable[[Any, Examples], dict[str, Layer]]:
    model = model_of(spec, trace=True)

    def measure(params: Any, examples: Examples) -> dict[str, Layer]:
        x, lengths = examples.x, examples.lengths
        _, kept = model.apply({"params": params}, x, lengths, mutable=["traces"])
        T, B = x.shape[1], x.shape[0]
        length_B = jnp.full(B, T) if lengths is None else lengths
        real_TB = jnp.arange(T)[:, None] < length_B[None]
        return {name: _layer(traced, real_TB) for name, (traced,) in kept["traces"]["lstm"].items()}

    return jax.jit(measure)


def _layer(traced: dict[str, jax.Array], real_TB: jax.Array) -> Layer:
    gates = {name: traced[name] for name in SIGMOIDS if name in traced}
    first_T = real_TB[:, 0, None]
    c_TBH, f_TBH = traced.get("c"), gates.get("f")
    c_norm = times = None
    if c_TBH is not None:
        norm_TB = jnp.sqrt(jnp.square(c_TBH).sum(-1))
        c_norm = jnp.where(real_TB, norm_TB, 0.0).sum() / real_TB.sum()
    if f_TBH is not None:
        time_TBH = -1.0 / jnp.log(jnp.clip(f_TBH.astype(jnp.float32), 1e-6, 1.0 - 1e-6))
        times = _counts(jnp.log10(time_TBH), real_TB, LOG_TIMES)
    return Layer(
        {name: _gate(values, real_TB) for name, values in gates.items()},
        {name: jnp.where(first_T, values[:, 0], jnp.nan) for name, values in gates.items()},
        c_norm,
        times,
    )


def _gate(values_TBH: jax.Array, real_TB: jax.Array) -> Gate:
    real = jnp.broadcast_to(real_TB[:, :, None], values_TBH.shape)
    count = real.sum()

    def share(found: jax.Array) -> jax.Array:
        return jnp.where(real, found, 0.0).sum() / count

    values_TBH = values_TBH.astype(jnp.float32)
    return Gate(
        share(values_TBH),
        share((values_TBH < 0.1).astype(jnp.float32)),
        share((values_TBH > 0.9).astype(jnp.float32)),
        _counts(values_TBH, real_TB, (0.0, 1.0)),
    )


def _counts(values_TBH: jax.Array, real_TB: jax.Array, bounds: tuple[float, float]) -> jax.Array:
    low, high = bounds
    place = jnp.clip((values_TBH - low) / (high - low) * BINS, 0, BINS - 1).astype(jnp.int32)
    real = jnp.broadcast_to(real_TB[:, :, None], values_TBH.shape)
    return jnp.zeros(BINS, jnp.int32).at[place].add(real.astype(jnp.int32))


def picture(values_TH: np.ndarray) -> np.ndarray:
    """Returns a gate over time as an image [H,T,3]: dark at 0, bright at 1, grey past the end."""
    anchors = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])
    at = np.linspace(0.0, 1.0, len(anchors))
    known = np.nan_to_num(values_TH.T.astype(np.float64))
    image = np.stack([np.interp(known, at, anchors[:, k]) for k in range(3)], -1)
    image[np.isnan(values_TH.T)] = 128
    return image.astype(np.uint8)
