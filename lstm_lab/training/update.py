"""From summed gradients to new weights: one optimizer step, by the CPU kernel or by optax.

In: the sum of the gradients and what to divide it by, weights and optimizer state. Out: the new
ones, with the norms that a report needs. Read `optimizer.py` and `native_optimizer.py` next.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import optax

from lstm_lab.config.sections import OptimSpec
from lstm_lab.recurrence import DeviceType
from lstm_lab.training import native_optimizer
from lstm_lab.training.native_optimizer import Updated
from lstm_lab.training.optimizer import build_optimizer
from lstm_lab.utils.types import PyTree


def apply_gradients(
    spec: OptimSpec,
    hparams: Mapping[str, jax.Array],
    length: float,
    grads: PyTree,
    count: jax.Array,
    opt_state: PyTree,
    params: PyTree,
    device: DeviceType | None = None,
) -> Updated:
    """Does one optimizer step.

    Args:
      spec: the static part of the optimizer.
      hparams: its numbers that are arrays, as `build_optimizer` takes them.
      length: as `schedule_length` returns it.
      grads: the gradients of a sum of losses.
      count: what the sum is divided by.
      opt_state: the optimizer's state.
      params: the weights.
      device: the type of device for which the step is compiled; None stands for this process's.
    """
    if native_optimizer.serves(spec, params, device):
        return native_optimizer.apply_gradients(
            spec, hparams, length, grads, count, opt_state, params
        )
    grads = jax.tree.map(lambda g: g / count, grads)
    # Built inside the program, since learning rate and momentum are arrays of the state.
    optimizer = build_optimizer(spec, hparams, length)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    norms = (optax.tree.norm(tree) for tree in (grads, updates, params))
    return Updated(optax.apply_updates(params, updates), opt_state, *norms)
