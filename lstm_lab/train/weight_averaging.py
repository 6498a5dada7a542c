"""Averaged weights that begin where validation no longer improves: NT-ASGD."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

WAITING = -1


class Average(NamedTuple):
    """The mean of a member's weights, and what it waits for.

    Attributes:
      params: the mean.
      steps: optimiser steps in it, int32; WAITING before it begins.
      recent_K: signed metric of the last evaluations, lower is better; infinite before there were
        so many.
      older: the best of those before.
    """

    params: Any
    steps: jax.Array
    recent_K: jax.Array
    older: jax.Array


def init(patience: int, params: Any) -> Average:
    """Returns a mean that has not begun; `patience` evaluations are the recent ones."""
    never = jnp.float32(jnp.inf)
    return Average(params, jnp.int32(WAITING), jnp.full((patience,), never), never)


def add(average: Average, params: Any) -> Average:
    """Adds the weights after an optimiser step, where the mean has begun."""
    begun = average.steps != WAITING
    steps = average.steps + begun.astype(jnp.int32)
    share = begun / jnp.maximum(steps, 1)
    mean = jax.tree.map(lambda old, new: old + share * (new - old), average.params, params)
    return average._replace(params=mean, steps=steps)


def weights(average: Average | None, params: Any) -> Any:
    """Returns what is evaluated: the mean once it has begun, else the weights themselves."""
    if average is None:
        return params
    return jax.tree.map(
        lambda mean, own: jnp.where(average.steps > 0, mean, own), average.params, params
    )


def observe(average: Average, value: jax.Array, evaluated: jax.Array) -> Average:
    """Begins the mean where an evaluation is worse than the best of all but the recent ones.

    Args:
      average: the mean.
      value: the evaluation's metric, lower is better.
      evaluated: whether there was an evaluation.

    Source: Merity, Keskar and Socher 2018, algorithm 1.
    """
    begins = evaluated & (average.steps == WAITING) & (value > average.older)
    # The next one is held against all before it but the last K, of which this is one.
    recent_K = jnp.append(average.recent_K[1:], value)
    older = jnp.minimum(average.older, average.recent_K[0])
    return average._replace(
        steps=jnp.where(begins, 0, average.steps),
        recent_K=jnp.where(evaluated, recent_K, average.recent_K),
        older=jnp.where(evaluated, older, average.older),
    )
