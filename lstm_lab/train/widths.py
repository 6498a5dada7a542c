"""Members of different hidden size in one program: each padded to the widest, exactly.

A unit whose weights are all zero stays zero under training where a(0) = b(0) = 0: its candidate is
zero, so are its state and output, and so are its gradients. Each member is initialised at its own
size and then padded, so that it trains as it would alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from lstm_lab.cells import CellSpec, GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.config import RunSpec, resolve_cell
from lstm_lab.optim import horizon
from lstm_lab.train.parallel import Program
from lstm_lab.train.state import TrainState, init_state, member_of

_KEEPS_ZERO = ("tanh", "identity", "relu")


def refusal(spec: RunSpec) -> str | None:
    """Returns why a run cannot be padded to a wider one, naming the field, or None."""
    cell = resolve_cell(spec.model)
    if spec.model.widths is not None:
        return "widths: runs are padded by their one hidden size"
    if isinstance(cell, CellSpec) and cell == replace(cell, cell=CellSpec().cell):
        for name, reason in (
            ("layer_norm", "its mean and variance would see the padding"),
            ("gate_recurrence", "gates of padded units are 0.5, and weights that read them learn"),
            ("projection", "the projected h is not made of units"),
        ):
            if getattr(cell, name):
                return f"{name}: {reason}"
        for name in ("candidate", "output"):
            if getattr(cell, name) not in _KEEPS_ZERO:
                return f"{name}: {getattr(cell, name)} does not keep zero"
        return None
    if isinstance(cell, SLSTMSpec) and cell.heads > 1:
        return "heads: padding would move units between them"
    if isinstance(cell, (RNNSpec, GRUSpec, SLSTMSpec, MinLSTMSpec)):
        return None
    return "cell: whether a cell of your own keeps zero units at zero is not known"


def init_padded(program: Program, specs: list[RunSpec], total_steps: int) -> TrainState:
    """Returns the state of lanes whose members differ in hidden size.

    Args:
      program: built for the widest member's spec.
      specs: one for each lane; they differ in seeds, numbers and `model.hidden` alone.
      total_steps: steps of the run.

    Returns:
      The state on the program's devices; each member as it would start alone, then zeros.

    Raises:
      ValueError: for a variant that padding would change.
    """
    widest = max(specs, key=lambda spec: spec.model.hidden)
    for spec in specs:
        reason = refusal(spec)
        if reason:
            raise ValueError(f"hidden: found {spec.model.hidden} beside others; {reason}")
    steps = horizon(widest.optim, total_steps)
    wide = jax.eval_shape(partial(init_state, widest, steps), member_of(widest))
    lanes = []
    for spec in specs:
        state = jax.device_get(jax.jit(partial(init_state, spec, steps))(member_of(spec)))
        pad = partial(_pad, spec.model.hidden, widest.model.hidden)
        lanes.append(jax.tree.map(pad, state, wide))
    return program.place(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes))


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
