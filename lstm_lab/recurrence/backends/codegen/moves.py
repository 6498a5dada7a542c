"""The equations of a step that move blocks of units and compute nothing: they leave no node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jax.extend.core import JaxprEqn

from lstm_lab.recurrence.backends.codegen.flat import ROWS
from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError
from lstm_lab.recurrence.backends.codegen.values import BlockArray, Values, aval


def _slice(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, p = values[eqn.invars[0]], eqn.params
    if any(step != 1 for step in p["strides"] or ()):
        raise UnsupportedError("slice: got strides, which no kernel computes")
    cut = tuple(
        slice(values.in_blocks(value, k, a), 1 if b == ROWS else values.in_blocks(value, k, b))
        for k, (a, b) in enumerate(zip(p["start_indices"], p["limit_indices"], strict=True))
    )
    return [value._replace(blocks=value.blocks[cut])]


def _split(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, axis = values[eqn.invars[0]], eqn.params["axis"]
    sizes = [values.in_blocks(value, axis, n) for n in eqn.params["sizes"]]
    parts = np.split(value.blocks, np.cumsum(sizes)[:-1], axis)
    return [value._replace(blocks=part) for part in parts]


def _concatenate(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    parts = [value for v in eqn.invars if (value := values[v]).blocks.size]
    like = next((value for value in parts if value.unit_axis is not None), parts[0])
    joined = np.concatenate([value.blocks for value in parts], eqn.params["dimension"])
    return [like._replace(blocks=joined)]


def _pad(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value = values[eqn.invars[0]]
    fill = values[eqn.invars[1]].blocks.item()
    config = eqn.params["padding_config"]
    if any(inner for _, _, inner in config):
        raise UnsupportedError("pad: got inner padding, which no kernel computes")
    ends = [
        (values.in_blocks(value, k, int(low)), values.in_blocks(value, k, int(high)))
        for k, (low, high, _) in enumerate(config)
    ]
    # The transpose of a pad is a pad by a negative length: a cut.
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high) in zip(value.blocks.shape, ends, strict=True)
    )
    added = [(max(low, 0), max(high, 0)) for low, high in ends]
    return [value._replace(blocks=np.pad(value.blocks[cut], added, constant_values=fill))]


def _transpose(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, order = values[eqn.invars[0]], eqn.params["permutation"]
    axis = None if value.unit_axis is None else order.index(value.unit_axis)
    return [BlockArray(np.transpose(value.blocks, order), axis, value.width)]


def _broadcast(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, where = values[eqn.invars[0]], eqn.params["broadcast_dimensions"]
    shape = aval(eqn.outvars[0]).shape
    if value.unit_axis is not None:
        axis, width = where[value.unit_axis], value.width
    else:  # one number, repeated for every unit
        axis, width = values.sizes.units(shape, ROWS)
    counts = [1] * len(shape)
    for k, to in enumerate(where):
        counts[to] = value.blocks.shape[k]
    spread = np.broadcast_to(value.blocks.reshape(counts), values.counts(shape, axis, width))
    return [BlockArray(spread, axis, width)]


def _reshape(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    value, shape = values[eqn.invars[0]], aval(eqn.outvars[0]).shape
    axis, width = values.sizes.units(shape, ROWS)
    if (axis is None) != (value.unit_axis is None) or width != value.width:
        raise UnsupportedError(f"reshape: got a shape that cuts vectors, {shape}")
    return [BlockArray(value.blocks.reshape(values.counts(shape, axis, width)), axis, width)]


MOVES: dict[str, Callable[[Values, JaxprEqn], list[BlockArray]]] = {
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
}
