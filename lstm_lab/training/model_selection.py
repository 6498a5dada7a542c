"""What an evaluation decides: the best weights, a lower learning rate, and whether to stop.

Each is a pure function of the evaluation; `TrainStep._select` calls them in this order.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import metric_names
from lstm_lab.training.state import DIVERGED, FINISHED, RUNNING, BestSoFar, TrainState
from lstm_lab.utils.types import PyTree


def update_best(
    spec: RunSpec,
    best: BestSoFar,
    value: jax.Array,
    step: jax.Array,
    params: PyTree,
    evaluated: jax.Array,
) -> BestSoFar:
    """Keeps the weights if the evaluation is the best so far, else counts one more stale one.

    Args:
      spec: the run; its metric's direction says what is better.
      best: the best evaluation so far.
      value: the metric now, NaN if there was no evaluation.
      step: optimizer steps done, int32.
      params: the weights that were evaluated.
      evaluated: whether there was an evaluation.
    """
    better = value < best.value if spec.direction == "min" else value > best.value
    # The first evaluation is better than none; one that is not finite is never better.
    better = evaluated & jnp.isfinite(value) & (better | jnp.isnan(best.value))
    return BestSoFar(
        value=jnp.where(better, value, best.value),
        step=jnp.where(better, step, best.step),
        stale=jnp.where(better, 0, best.stale + evaluated.astype(jnp.int32)),
        params=jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best.params),
    )


def reduce_on_plateau(
    spec: RunSpec, hparams: dict[str, jax.Array], stale: jax.Array, evaluated: jax.Array
) -> dict[str, jax.Array]:
    """Multiplies the learning rate by `plateau_factor` after `plateau` evaluations without a gain.

    Args:
      spec: the run; without `optim.plateau` nothing changes.
      hparams: the member's numbers, `lr` among them.
      stale: evaluations since the best one, int32.
      evaluated: whether there was an evaluation.
    """
    if spec.optim.plateau is None:
        return hparams
    reduces = evaluated & (stale > 0) & (stale % spec.optim.plateau == 0)
    factor = jnp.where(reduces, spec.optim.plateau_factor, 1.0)
    return hparams | {"lr": hparams["lr"] * factor}


def should_stop(
    spec: RunSpec,
    state: TrainState,
    loss: jax.Array,
    valid: dict[str, jax.Array],
    evaluated: jax.Array,
) -> jax.Array:
    """Returns RUNNING, FINISHED (at the end, or out of patience) or DIVERGED, int32.

    Args:
      spec: the run.
      state: the member's state, with the best evaluation updated.
      loss: the mean training loss since the last call.
      valid: validation metrics, NaN if there was no evaluation.
      evaluated: whether there was an evaluation; only then does a run finish.
    """
    # The first metric is the loss itself. Others may be NaN in a healthy run.
    valid_loss = valid[metric_names(spec.task.target)[0]]
    diverged = ~jnp.isfinite(loss) | (evaluated & ~jnp.isfinite(valid_loss))
    patience = spec.train.patience
    finished = jnp.asarray(False) if patience is None else state.best.stale >= patience
    finished = finished | (evaluated & (state.step >= state.total))
    stopped = jnp.where(diverged, DIVERGED, jnp.where(finished, FINISHED, RUNNING))
    return stopped.astype(jnp.int32)
