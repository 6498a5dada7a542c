"""Members of different hidden size in one program: each padded to the widest, exactly.

A member is initialised at its own size and then padded with zeros, and the gradients of what is
padded are set to zero. Padded units may then hold anything: the weights that read them are zero and
stay so, hence the member trains as it would alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import CellSpec, GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.tasks import Translation


def unsupported_reason(spec: RunSpec) -> str | None:
    """Returns why a run cannot be padded to a wider one, naming the field, or None."""
    cell = resolve_cell(spec.model)
    if spec.model.hidden_sizes is not None:
        return "hidden_sizes: runs are padded by their one hidden size"
    if isinstance(spec.task, Translation):
        return "task: a decoder is not padded"
    if spec.train.penalized:
        return "activation_reg, temporal_reg: their means would see the padding"
    if spec.model.tied:
        return "tied: the embedding is as wide as the layer"
    if isinstance(cell, CellSpec) and cell.cell is GATED_LSTM:
        for name, reason in (
            ("layer_norm", "its mean and variance would see the padding"),
            ("projection", "the projected h is not made of units"),
        ):
            if getattr(cell, name):
                return f"{name}: {reason}"
        return None
    if isinstance(cell, SLSTMSpec) and cell.heads > 1:
        return "heads: padding would move units between them"
    if isinstance(cell, (RNNSpec, GRUSpec, SLSTMSpec, MinLSTMSpec)):
        return None
    return "cell: what a cell of your own does with padded units is not known"


class UnitAxis(NamedTuple):
    """An axis of an array along which hidden units lie: `parts` times all of them."""

    axis: int
    parts: int


@cache
def unit_axes(spec: RunSpec) -> Any:
    """Returns, for each parameter, its axes of hidden units; found by asking for one unit more."""
    shapes, wider = (_shapes(spec, spec.model.hidden + more) for more in (0, 1))
    return jax.tree.map(
        lambda a, b: tuple(
            UnitAxis(axis, more - size)
            for axis, (size, more) in enumerate(zip(a.shape, b.shape, strict=True))
            if more != size
        ),
        shapes,
        wider,
    )


def _shapes(spec: RunSpec, hidden: int) -> Any:
    x = zero_inputs(spec.task, 1, 1)
    wide = replace(spec, model=replace(spec.model, hidden=hidden))
    return jax.eval_shape(build_model(wide).init, jax.random.key(0), x)["params"]


def mask_padding(axes: Any, tree: Any, units: jax.Array) -> Any:
    """Returns a pytree like the parameters with zero wherever a padded unit is involved.

    Args:
      axes: what `unit_axes` gives.
      tree: arrays like the parameters.
      units: hidden units that are the member's own.
    """

    def one(array: jax.Array, found: tuple[UnitAxis, ...]) -> jax.Array:
        for axis, parts in found:
            width = array.shape[axis] // parts
            real = jnp.arange(array.shape[axis]) % width < units
            shape = [1] * array.ndim
            shape[axis] = -1
            array = jnp.where(real.reshape(shape), array, jnp.zeros_like(array))
        return array

    return jax.tree.map(one, tree, axes)


def pad(state: Any, narrow: int, wide: int, like: Any) -> Any:
    """Pads a member's state on the host from its own hidden size to a program's.

    Args:
      state: host arrays of a member of `narrow` hidden units.
      narrow, wide: the hidden sizes.
      like: arrays, or their shapes, of a member of `wide` hidden units.
    """
    return jax.tree.map(partial(_pad, narrow, wide), state, like)


def unpad_host(axes: Any, tree: Any, units: int) -> Any:
    """Returns host arrays like the parameters without the padded units.

    Args:
      axes: what `unit_axes` gives.
      tree: arrays like the parameters.
      units: hidden units that are the member's own.
    """

    def one(array: Any, found: tuple[UnitAxis, ...]) -> Any:
        for axis, parts in found:
            width = array.shape[axis] // parts
            array = np.compress(np.arange(array.shape[axis]) % width < units, array, axis)
        return array

    return jax.tree.map(one, tree, axes)


def _pad(narrow: int, wide: int, array: Any, like: Any) -> Any:
    """Pads each axis of m * narrow units to m * wide, part by part: directions stay in place."""
    array = np.asarray(array)
    for axis, (size, wanted) in enumerate(zip(array.shape, like.shape, strict=True)):
        if size != wanted:
            parts, rest = divmod(size, narrow)
            assert rest == 0, (array.shape, like.shape)
            assert wanted == parts * wide, (array.shape, like.shape)
            array = np.moveaxis(array, axis, -1)
            array = array.reshape(*array.shape[:-1], parts, narrow)
            array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, wide - narrow)])
            array = np.moveaxis(array.reshape(*array.shape[:-2], wanted), -1, axis)
    return array
