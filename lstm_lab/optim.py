"""OptimSpec -> optax: optimiser, clipping, weight decay and schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

# Numbers in which the members of one program may differ.
HPARAMS = ("lr", "momentum", "weight_decay")


@dataclass(frozen=True)
class OptimSpec:
    """How parameters are updated.

    Attributes:
      name: the optimiser.
      lr: learning rate at the schedule's peak.
      momentum: of sgd.
      nesterov: Nesterov's form of sgd's momentum.
      dampening: scale sgd's gradient by 1 - momentum, so that momentum does not lengthen the steps.
      beta1, beta2, eps: of adam and adamw; rmsprop decays by beta2.
      clip: largest global norm of the gradient; None does not clip.
      weight_decay: added to the gradient (L2), or for adamw to the update.
      schedule: of the learning rate after warm-up: constant, linear or cosine to `final_lr`;
        one_cycle, over three tenths of the steps up from a twenty-fifth and then down (Smith 2018);
        or exponential, times `decay_rate` every `decay_steps`.
      warmup_steps: steps over which the learning rate rises from 0.
      final_lr: share of `lr` at the end of linear and cosine.
      decay_rate, decay_steps: of exponential.
      decay_begin: steps before exponential begins to fall.
      plateau: evaluations without a better one after which the rate falls; None never lets it.
      plateau_factor: to which share.
      average: n of NT-ASGD (Merity et al. 2018): where an evaluation is worse than the best of all
        but the last n, averaging of the weights begins, and the mean is what counts; None never.
      accumulate: batches whose gradients are averaged into one update.
      freeze: parts of the model that are not trained, by the beginning of their names, such as
        `embed`.
      staircase: let exponential fall at once after each `decay_steps`, as Zaremba et al. 2014 do.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = False
    dampening: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip: float | None = 1.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine", "one_cycle", "exponential"] = "constant"
    warmup_steps: int = 0
    final_lr: float = 0.0
    decay_rate: float = 0.5
    decay_steps: int = 1000
    decay_begin: int = 0
    staircase: bool = False
    plateau: int | None = None
    plateau_factor: float = 0.5
    average: int | None = None
    accumulate: int = 1
    freeze: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("momentum", "beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}: found {getattr(self, name)}, allowed 0 or more, below 1")
        for name, value, allowed in (
            ("lr", self.lr > 0.0, "above 0"),
            ("eps", self.eps > 0.0, "above 0"),
            ("clip", self.clip is None or self.clip > 0.0, "above 0, or none"),
            ("weight_decay", self.weight_decay >= 0.0, "0 or more"),
            ("warmup_steps", self.warmup_steps >= 0, "0 or more"),
            ("final_lr", 0.0 <= self.final_lr <= 1.0, "0 to 1"),
            ("decay_rate", 0.0 < self.decay_rate <= 1.0, "above 0, up to 1"),
            ("decay_steps", self.decay_steps >= 1, "1 or more"),
            ("decay_begin", self.decay_begin >= 0, "0 or more"),
            ("plateau", self.plateau is None or self.plateau >= 1, "1 or more, or none"),
            ("plateau_factor", 0.0 < self.plateau_factor < 1.0, "above 0, below 1"),
            ("average", self.average is None or self.average >= 1, "1 or more, or none"),
            ("accumulate", self.accumulate >= 1, "1 or more"),
        ):
            if not value:
                raise ValueError(f"{name}: found {getattr(self, name)}, allowed {allowed}")
        if self.name != "sgd" and (self.momentum or self.nesterov or self.dampening):
            raise ValueError(
                f"momentum, nesterov, dampening: only sgd takes them, found {self.name}"
            )


def hparams(spec: OptimSpec) -> dict[str, float]:
    """Returns the numbers of a spec that are arrays in the compiled program."""
    return {name: getattr(spec, name) for name in HPARAMS}


def horizon(spec: OptimSpec, total_steps: int) -> int:
    """Returns what the schedule has to know of a run's length: 0 where nothing, so that runs of
    different length share a program."""
    updates = -(-total_steps // spec.accumulate)
    return updates if spec.schedule in ("linear", "cosine", "one_cycle") else 0


def schedule(spec: OptimSpec, horizon: int) -> Callable[[jax.Array], jax.Array]:
    """Returns the learning rate's share of `lr` as a function of the step."""
    steps = max(horizon - spec.warmup_steps, 1)
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
            after = optax.exponential_decay(
                1.0, spec.decay_steps, spec.decay_rate, spec.decay_begin, spec.staircase
            )
    if not spec.warmup_steps:
        return after
    # From 1/n, not 0, so that the first step already learns.
    rise = optax.linear_schedule(1.0 / spec.warmup_steps, 1.0, max(spec.warmup_steps - 1, 1))
    return optax.join_schedules([rise, after], [spec.warmup_steps])


def build_optimizer(
    spec: OptimSpec, hparams: Mapping[str, jax.Array], horizon: int
) -> optax.GradientTransformation:
    """Builds the optax chain: clip, weight decay, optimiser, schedule.

    Args:
      spec: the static part.
      hparams: `lr`, `momentum` and `weight_decay` as arrays; they replace the spec's.
      horizon: what `horizon` says of the run's length.

    Returns:
      The transformation; its state's structure depends on the spec alone.
    """
    match spec.name:
        case "sgd":
            scale = optax.trace(hparams["momentum"], spec.nesterov)
        case "rmsprop":
            scale = optax.scale_by_rms(spec.beta2, spec.eps)
        case "adam" | "adamw":
            scale = optax.scale_by_adam(spec.beta1, spec.beta2, spec.eps)
    decay = optax.add_decayed_weights(hparams["weight_decay"])
    decayed = [scale, decay] if spec.name == "adamw" else [decay, scale]
    clip = [] if spec.clip is None else [optax.clip_by_global_norm(spec.clip)]
    shape = schedule(spec, horizon)
    peak = hparams["lr"] * (1.0 - hparams["momentum"]) if spec.dampening else hparams["lr"]
    rate = optax.scale_by_schedule(lambda step: -peak * jnp.asarray(shape(step)))
    frozen = [optax.masked(optax.set_to_zero(), partial(_frozen, spec.freeze))]
    chain = optax.chain(*clip, *decayed, rate, *(frozen if spec.freeze else []))
    if spec.accumulate == 1:
        return chain
    return optax.MultiSteps(chain, spec.accumulate).gradient_transformation()


def _frozen(parts: tuple[str, ...], params: Any) -> Any:
    """Returns which parameters are not trained."""
    return jax.tree_util.tree_map_with_path(lambda path, _: is_frozen(parts, path), params)


def is_frozen(parts: tuple[str, ...], path: Any) -> bool:
    """Returns whether a parameter, by its path in the tree, is among the parts named."""
    return names_part(parts, "/".join(str(part.key) for part in path))


def names_part(parts: tuple[str, ...], name: str) -> bool:
    """Returns whether a parameter's name, such as `lstm/layer_0/wx`, is of one of the parts."""
    return any(name == part or name.startswith(f"{part}/") for part in parts)
