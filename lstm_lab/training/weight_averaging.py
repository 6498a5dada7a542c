"""Averaged weights that start when validation no longer improves: NT-ASGD.

`TrainStep` adds the weights after every step (`add`), evaluates the mean (`weights`), and decides
after every evaluation whether averaging starts (`observe`).

Source: Merity, Keskar and Socher 2018, Regularizing and optimizing LSTM language models,
algorithm 1.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.utils.types import PyTree

WAITING = -1  # value of Average.steps before averaging starts


class Average(NamedTuple):
    """The mean of a member's weights, and the evaluations that decide when it starts.

    Attributes:
      params: the mean.
      steps: optimizer steps in the mean, int32; WAITING before it starts.
      recent_K: the metric at the last K evaluations, lower is better; infinite before there were K.
      older: the best metric of the evaluations before those.
    """

    params: PyTree
    steps: jax.Array
    recent_K: jax.Array
    older: jax.Array


def init(patience: int, params: PyTree) -> Average:
    """Returns a mean that waits; `patience` is K, the number of recent evaluations."""
    never = jnp.float32(jnp.inf)
    return Average(params, jnp.int32(WAITING), jnp.full((patience,), never), never)


def add(average: Average, params: PyTree) -> Average:
    """Adds the weights after an optimizer step to the mean, if it has started."""
    started = average.steps != WAITING
    steps = average.steps + started.astype(jnp.int32)
    share = started / jnp.maximum(steps, 1)
    # As an update of the mean, not a sum: a sum over 1e5 steps would lose float32 digits.
    mean = jax.tree.map(lambda old, new: old + share * (new - old), average.params, params)
    return average._replace(params=mean, steps=steps)


def weights(average: Average | None, params: PyTree) -> PyTree:
    """Returns the weights to evaluate: the mean once it has started, else the weights as given."""
    if average is None:
        return params
    started = average.steps > 0
    return jax.tree.map(
        lambda mean, current: jnp.where(started, mean, current), average.params, params
    )


def observe(average: Average, value: jax.Array, evaluated: jax.Array) -> Average:
    """Starts the mean if an evaluation is worse than the best of all but the last K.

    Args:
      average: the mean.
      value: the metric of the evaluation, lower is better.
      evaluated: whether there was an evaluation.
    """
    starts = evaluated & (average.steps == WAITING) & (value > average.older)
    # This evaluation is one of the last K for the next one; the first of them becomes older.
    recent_K = jnp.append(average.recent_K[1:], value)
    older = jnp.minimum(average.older, average.recent_K[0])
    return average._replace(
        steps=jnp.where(starts, 0, average.steps),
        recent_K=jnp.where(evaluated, recent_K, average.recent_K),
        older=jnp.where(evaluated, older, average.older),
    )
