"""Members of different hidden size in one program: each is padded to the widest, exactly.

A member is initialized at its own size and then padded with zeros, and the gradients of the padding
are set to zero. Padded units may then hold anything: the weights that read them are zero and stay
zero, so the member trains as it would alone. `studies/plan.py` decides which sizes share a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import CellSpec, GRUSpec, MGUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.cells.masks import default_rates
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.utils.types import PyTree


class UnitAxis(NamedTuple):
    """An axis of an array along which hidden units lie, `parts` times all of them."""

    axis: int
    parts: int


def unsupported_reason(spec: RunSpec) -> str | None:
    """Returns why a run cannot be padded to a wider one, naming the setting; None if it can."""
    cell = resolve_cell(spec.model)
    if spec.model.hidden_sizes is not None:
        return "hidden_sizes: only the one size of all layers can be padded"
    if spec.task.source_vocabulary is not None:
        return "task: a decoder cannot be padded"
    if spec.train.penalized:
        return "activation_reg, temporal_reg: their means over units would include the padding"
    if spec.model.tied:
        return "tied: the embedding is as wide as the layer"
    if reason := _joined_mask(spec.model, default_rates(cell)):
        return reason
    if isinstance(cell, CellSpec) and cell.cell is GATED_LSTM:
        if cell.layer_norm:
            return "layer_norm: its mean and variance would include the padding"
        return "projection: the projected h has no units" if cell.projection else None
    if isinstance(cell, SLSTMSpec) and cell.forget_bias == "power_law":
        return "forget_bias: power_law depends on the number of units"
    if isinstance(cell, SLSTMSpec) and cell.heads > 1:
        return "heads: padding would move units from one head to another"
    if isinstance(cell, (RNNSpec, GRUSpec, MGUSpec, SLSTMSpec, MinLSTMSpec)):
        return None
    # A user's cell may normalize or mix units, and nothing in its data says so.
    return "cell: a user's own cell may mix padded units with others"


def _joined_mask(model: ModelSpec, rates: Mapping[str, float]) -> str | None:
    """Returns why a mask over both directions at once cannot be padded, or None if there is none.

    It is one draw over the units of both. Padding the forward units would move the backward ones in
    it. Dropout between layers draws each direction from its own place, so it can be padded.
    """
    if not model.bidirectional or model.merge != "concat":
        return None
    if model.dropout_out:
        return "dropout_out: its mask covers both directions, and padding would move the second"
    if "input_dropout" in rates and len(model.layer_widths) > 1:
        return "input_dropout: its mask covers both directions, and padding would move the second"
    return None


@cache
def unit_axes(spec: RunSpec) -> PyTree:
    """Returns, for each parameter, its axes of hidden units.

    They are the axes that grow when the hidden size grows by one, so no layer has to declare them.
    """
    shapes = _parameter_shapes(spec, spec.model.hidden)
    wider = _parameter_shapes(spec, spec.model.hidden + 1)
    return jax.tree.map(
        lambda a, b: tuple(
            UnitAxis(axis, size_wider - size)
            for axis, (size, size_wider) in enumerate(zip(a.shape, b.shape, strict=True))
            if size_wider != size
        ),
        shapes,
        wider,
    )


def _parameter_shapes(spec: RunSpec, hidden: int) -> PyTree:
    # Shapes only: nothing is allocated.
    x = zero_inputs(spec.task, 1, 1)
    resized = replace(spec, model=replace(spec.model, hidden=hidden))
    return jax.eval_shape(build_model(resized).init, jax.random.key(0), x)["params"]


def mask_padding(axes: PyTree, tree: PyTree, units: jax.Array) -> PyTree:
    """Returns arrays that are zero for every padded unit.

    Args:
      axes: as `unit_axes` returns them.
      tree: arrays like the parameters, such as gradients.
      units: hidden units of the member, int32; the others are padding.
    """

    def one(array: jax.Array, unit_axes: tuple[UnitAxis, ...]) -> jax.Array:
        for axis, parts in unit_axes:
            width = array.shape[axis] // parts
            real = jnp.arange(array.shape[axis]) % width < units
            shape = [1] * array.ndim
            shape[axis] = -1
            # where, not a product: the gradient of a padded unit may be NaN.
            array = jnp.where(real.reshape(shape), array, jnp.zeros_like(array))
        return array

    return jax.tree.map(one, tree, axes)


def pad(state: PyTree, narrow: int, wide: int, shapes: PyTree) -> PyTree:
    """Pads a member's state on the host from its own hidden size to a program's.

    Args:
      state: host arrays of a member with `narrow` hidden units.
      narrow, wide: the hidden sizes.
      shapes: the state's shapes with `wide` hidden units.
    """
    return jax.tree.map(partial(_pad_array, narrow, wide), state, shapes)


def unpad_host(axes: PyTree, tree: PyTree, units: int) -> PyTree:
    """Returns host arrays without the padded units.

    Args:
      axes: as `unit_axes` returns them.
      tree: arrays like the parameters, at the program's width.
      units: hidden units of the member.
    """

    def one(array: np.ndarray, unit_axes: tuple[UnitAxis, ...]) -> np.ndarray:
        for axis, parts in unit_axes:
            width = array.shape[axis] // parts
            array = np.compress(np.arange(array.shape[axis]) % width < units, array, axis)
        return array

    return jax.tree.map(one, tree, axes)


def _pad_array(
    narrow: int, wide: int, array: np.ndarray, target: jax.ShapeDtypeStruct
) -> np.ndarray:
    """Pads every axis of m * narrow units to m * wide units, part by part.

    A bidirectional layer concatenates its directions: padding at the end of the axis alone would
    shift the second direction.
    """
    array = np.asarray(array)
    for axis, (size, new_size) in enumerate(zip(array.shape, target.shape, strict=True)):
        if size != new_size:
            parts, rest = divmod(size, narrow)
            assert rest == 0, (array.shape, target.shape)
            assert new_size == parts * wide, (array.shape, target.shape)
            array = np.moveaxis(array, axis, -1)
            array = array.reshape(*array.shape[:-1], parts, narrow)
            array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, wide - narrow)])
            array = np.moveaxis(array.reshape(*array.shape[:-2], new_size), -1, axis)
    return array
