"""From OptimSpec to optax: clipping, weight decay, optimizer, learning-rate schedule.

`TrainStep` builds the optimizer anew in every step: the learning rate, the momentum and the weight
decay are arrays of the member's state, so that members with other values share a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import HPARAMS, OptimSpec
from lstm_lab.models.weights import names_part, weight_name
from lstm_lab.utils.types import PyTree


def hparams(spec: OptimSpec) -> dict[str, float]:
    """Returns the numbers of a spec that are arrays in the compiled program."""
    return {name: getattr(spec, name) for name in HPARAMS}


def schedule_length(spec: RunSpec, total_steps: int) -> float:
    """Returns the number of optimizer updates on which the learning-rate schedule depends.

    They are those of the training, or of an epoch with `optim.decay_unit=epoch`. It is 0 for a
    schedule that depends on neither, so that runs of different length share a program.
    """
    optim = spec.optim
    if optim.counts_epochs:
        assert spec.train.epochs
        # No whole number if an update does not end with the epoch.
        return total_steps / spec.train.epochs / optim.accumulate
    updates = -(-total_steps // optim.accumulate)
    return updates if optim.schedule in ("linear", "cosine", "one_cycle") else 0


def schedule(spec: OptimSpec, length: float) -> Callable[[jax.Array], jax.Array]:
    """Returns the learning rate as a share of `lr`, a function of the update.

    Args:
      spec: which schedule.
      length: as `schedule_length` returns it.
    """
    steps = max(length - spec.warmup_steps, 1)
    match spec.schedule:
        case "constant":
            after = optax.constant_schedule(1.0)
        case "linear":
            after = optax.linear_schedule(1.0, spec.final_lr, steps)
        case "cosine":
            after = optax.cosine_decay_schedule(1.0, steps, spec.final_lr)
        case "one_cycle":
            after = optax.cosine_onecycle_schedule(
                steps, 1.0, pct_start=0.3, div_factor=25.0, final_div_factor=25.0e4
            )
        case "exponential":
            unit = length if spec.decay_unit == "epoch" else 1
            after = optax.exponential_decay(
                1.0,
                spec.decay_steps * unit,
                spec.decay_rate,
                spec.decay_begin * unit,
                spec.staircase,
            )
    if not spec.warmup_steps:
        return after
    # From 1/n, not 0, so that the first step already learns.
    rise = optax.linear_schedule(1.0 / spec.warmup_steps, 1.0, max(spec.warmup_steps - 1, 1))
    return optax.join_schedules([rise, after], [spec.warmup_steps])


def learning_rate(
    spec: OptimSpec, hparams: Mapping[str, jax.Array], length: float
) -> Callable[[jax.Array], jax.Array]:
    """Returns the factor of an update, a function of the number of updates before it.

    Args:
      spec, hparams, length: as `build_optimizer` takes them.
    """
    shape = schedule(spec, length)
    # Momentum m lengthens steps by 1 / (1 - m); dampening takes that back.
    peak = hparams["lr"] * (1.0 - hparams["momentum"]) if spec.dampening else hparams["lr"]
    return lambda updates: peak * jnp.asarray(shape(updates))


def build_optimizer(
    spec: OptimSpec, hparams: Mapping[str, jax.Array], length: float
) -> optax.GradientTransformation:
    """Builds the optax chain: clip, weight decay, optimizer, schedule.

    Args:
      spec: the static part.
      hparams: `lr`, `momentum` and `weight_decay` as arrays; they replace those of the spec.
      length: as `schedule_length` returns it.

    Returns:
      The transformation; the structure of its state depends on the spec alone.
    """
    match spec.name:
        case "sgd":
            scale = optax.trace(hparams["momentum"], spec.nesterov)
        case "rmsprop":
            scale = optax.scale_by_rms(spec.beta2, spec.eps)
        case "adam" | "adamw":
            scale = optax.scale_by_adam(spec.beta1, spec.beta2, spec.eps)
    # AdamW decouples the decay from the gradient's moments; elsewhere it is an L2 penalty.
    decay = optax.add_decayed_weights(hparams["weight_decay"])
    decayed = [scale, decay] if spec.name == "adamw" else [decay, scale]
    shrink = []
    if spec.weight_decay_on == "weights":
        decayed, shrink = [scale], [_shrink_weights(hparams["weight_decay"])]
    clip = [] if spec.clip is None else [optax.clip_by_global_norm(spec.clip)]
    rate = learning_rate(spec, hparams, length)
    step = optax.scale_by_schedule(lambda updates: -rate(updates))
    # The gradients of frozen parts are zero already (`step.py`); weight decay would move them.
    frozen = [optax.masked(optax.set_to_zero(), partial(_frozen, spec.freeze))]
    chain = optax.chain(*clip, *decayed, step, *shrink, *(frozen if spec.freeze else []))
    if spec.accumulate == 1:
        return chain
    return optax.MultiSteps(chain, spec.accumulate).gradient_transformation()


def before_lookahead(
    spec: OptimSpec,
    hparams: Mapping[str, jax.Array],
    rate: jax.Array,
    opt_state: tuple[PyTree, ...],
    params: PyTree,
) -> PyTree:
    """Returns the weights before Nesterov's momentum looks ahead.

    optax keeps the weights w where the next gradient is taken, one step of the momentum ahead:

        trace = g + m trace
        w     = w - rate (g + m trace)

    Without the step ahead they are w + rate m trace.

    Args:
      spec: of sgd with `nesterov`.
      hparams: as `build_optimizer` takes them.
      rate: the factor of the last update, as `learning_rate` returns it.
      opt_state: the state of the optimizer after this update.
      params: the weights after this update.

    Source: Sutskever et al. 2013, On the importance of initialization and momentum in deep
    learning, section 3; Bengio et al. 2013, Advances in optimizing recurrent networks, section 3.5.
    """
    trace = next(part.trace for part in opt_state if isinstance(part, optax.TraceState))
    ahead = rate * hparams["momentum"]

    def back(path: tuple[jax.tree_util.DictKey, ...], weight: jax.Array, t: jax.Array) -> jax.Array:
        # A frozen weight was not moved, although it has a trace.
        return weight if is_frozen(spec.freeze, path) else weight + ahead * t

    moved: PyTree = jax.tree_util.tree_map_with_path(back, params, trace)
    return moved


def _shrink_weights(decay: jax.Array) -> optax.GradientTransformation:
    """Multiplies the weights by 1 - decay after an update: w = (1 - decay) (w + u)."""
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda u, w: u - decay * (w + u), updates, params)
    )


def _frozen(parts: tuple[str, ...], params: PyTree) -> PyTree:
    """Marks the parameters that are not trained."""
    return jax.tree_util.tree_map_with_path(lambda path, _: is_frozen(parts, path), params)


def is_frozen(parts: tuple[str, ...], path: tuple[jax.tree_util.DictKey, ...]) -> bool:
    """Returns whether the parameter at a path of the tree belongs to one of the named parts."""
    return names_part(parts, weight_name(path))
