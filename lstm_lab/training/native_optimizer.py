"""The compiled call for an optimizer's step on CPU: all parameters in one pass over memory.

XLA goes through each parameter about 18 times, the kernel (recurrence/backends/kernel/optimizer.h)
once, and once more over the gradient if it is clipped. `update.py` calls it; `optimizer.py` defines
what it computes and holds its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lstm_lab.config.sections import OptimSpec
from lstm_lab.recurrence import DeviceType, own_device_type
from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.training.optimizer import learning_rate
from lstm_lab.utils.types import PyTree

# The kernel's numbers of the algorithms, and the moments that each of them keeps.
ALGORITHMS = {"sgd": 0, "nesterov": 1, "rmsprop": 2, "adam": 3}
MOMENTS = {"sgd": ("trace",), "nesterov": ("trace",), "rmsprop": ("nu",), "adam": ("mu", "nu")}


class Updated(NamedTuple):
    """The outcome of an optimizer's step.

    Attributes:
      params: the new weights.
      opt_state: the new state of the optimizer.
      grad_norm: norm of the mean gradient, before clipping.
      update_norm: norm of the change.
      weight_norm: norm of the weights before the change.
    """

    params: PyTree
    opt_state: PyTree
    grad_norm: jax.Array
    update_norm: jax.Array
    weight_norm: jax.Array


def serves(spec: OptimSpec, params: PyTree, device: DeviceType | None = None) -> bool:
    """Returns whether the kernel computes an optimizer's step.

    Args:
      spec: the optimizer. Frozen parameters, accumulated gradients and a decay of the weights
        themselves are left to optax.
      params: the parameters.
      device: the type of device for which the step is compiled; None stands for this process's.
    """
    by_optax = spec.freeze or spec.accumulate > 1 or spec.weight_decay_on == "weights"
    if (device or own_device_type()).platform != "cpu" or by_optax:
        return False
    if any(leaf.dtype != jnp.float32 or leaf.size == 0 for leaf in jax.tree.leaves(params)):
        return False
    # Last, because it may compile for seconds. Without a compiler XLA computes the step.
    return kernel_library.load_optimizer()[1] is None


def apply_gradients(
    spec: OptimSpec,
    hparams: Mapping[str, jax.Array],
    length: float,
    grads: PyTree,
    count: jax.Array,
    opt_state: tuple[PyTree, ...],
    params: PyTree,
) -> Updated:
    """Does one optimizer step; see `update.apply_gradients`."""
    algorithm = "nesterov" if spec.nesterov else spec.name.removesuffix("w")
    moments = [_field(opt_state, name) for name in MOMENTS[algorithm]]
    step = _field(opt_state, "count")
    corrections = [1.0 - beta ** (step + 1) for beta in (spec.beta1, spec.beta2)]
    rate = -learning_rate(spec, hparams, length)(step)
    clip = np.float32(np.inf if spec.clip is None else spec.clip)
    numbers = [count, clip, rate, hparams["momentum"], hparams["weight_decay"], *corrections]
    leaves, tree = jax.tree.flatten(params)
    grad_leaves = jax.tree.leaves(grads)
    changed = [*leaves, *(leaf for moment in moments for leaf in jax.tree.leaves(moment))]
    shapes = [jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in changed]
    first = 1 + len(grad_leaves)
    kernel = jax.ffi.ffi_call(
        "lstm_lab_optimizer",
        [*shapes, jax.ShapeDtypeStruct((3,), jnp.float32)],
        # Weights and moments are changed where they lie.
        input_output_aliases={first + k: k for k in range(len(changed))},
        vmap_method="sequential",
    )
    *results, norms = kernel(
        jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers]),
        *grad_leaves,
        *changed,
        algorithm=np.int32(ALGORITHMS[algorithm]),
        clips=spec.clip is not None,
        decoupled=spec.name == "adamw",
        beta1=np.float32(spec.beta1),
        beta2=np.float32(spec.beta2),
        # Rounded after the subtraction: in float32, 1 - 0.999 would be off by 5e-5.
        rest1=np.float32(1.0 - spec.beta1),
        rest2=np.float32(1.0 - spec.beta2),
        eps=np.float32(spec.eps),
    )
    trees = [
        jax.tree.unflatten(tree, results[k : k + len(leaves)])
        for k in range(0, len(results), len(leaves))
    ]
    new = dict(zip(MOMENTS[algorithm], trees[1:], strict=True))
    state = tuple(_advance(part, new) for part in opt_state)
    return Updated(trees[0], state, *norms)


def _field(opt_state: tuple[PyTree, ...], name: str) -> PyTree:
    """Returns the first field of a name among the states of a chain."""
    return next(getattr(part, name) for part in opt_state if name in part._fields)


def _advance(part: PyTree, moments: dict[str, PyTree]) -> PyTree:
    """Returns the state of a part of the chain after a step."""
    # By `_fields`, since every tuple has a method `count`.
    fields = {name: tree for name, tree in moments.items() if name in part._fields}
    if "count" in part._fields:
        fields["count"] = optax.safe_increment(part.count)
    return part._replace(**fields)
