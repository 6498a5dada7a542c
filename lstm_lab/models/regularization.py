"""What training adds to a model: rates and keys, dropout between layers, noise on inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# Folded into keys for noise on inputs, outputs and words; layers and directions fold in small ones.
INPUT_NOISE, OUTPUT, WORDS = range(2**31, 2**31 + 3)


class Regularization(NamedTuple):
    """What regularisers draw on.

    Attributes:
      rates: by name, numbers or scalar arrays; a variant's own where one is missing.
      key: of the step, for what a batch shares; None means evaluation.
      keys_B: a key for each example; None means evaluation.
    """

    rates: Mapping[str, Any]
    key: jax.Array | None = None
    keys_B: jax.Array | None = None


def dropout(
    x_TBD: jax.Array, rate: float, keys_B: jax.Array, parts: int = 1, *, locked: bool = False
) -> jax.Array:
    """Zeroes units at `rate` and rescales the rest.

    Each example has a key of its own and the unit axis leads, so that neither the batch's split
    over devices nor padded units change a mask.

    Args:
      x_TBD: inputs [T,B,D].
      rate: probability of zero.
      keys_B: a key for each example.
      parts: how many directions lie one after another in D.
      locked: draw one mask for all steps of a sequence (Gal and Ghahramani 2016).

    Returns:
      An array like x_TBD.
    """
    T, B, D = x_TBD.shape
    drawn = 1 if locked else T
    shape = (D // parts, drawn, parts)
    keep_BHTP = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, shape))(keys_B)
    keep_TBD = keep_BHTP.transpose(2, 0, 3, 1).reshape(drawn, B, D)
    return jnp.where(keep_TBD, x_TBD / (1.0 - rate), jnp.zeros_like(x_TBD))


def add_noise(x_TBD: jax.Array, regularization: Regularization | None) -> jax.Array:
    """Adds Gaussian noise of standard deviation `input_noise`, where it is among the rates.

    Args:
      x_TBD: inputs [T,B,D].
      regularization: rates and keys; without keys, as in evaluation, nothing is added.

    Returns:
      An array like x_TBD.
    """
    if (
        regularization is None
        or regularization.keys_B is None
        or "input_noise" not in regularization.rates
    ):
        return x_TBD
    keys_B = jax.vmap(jax.random.fold_in, (0, None))(regularization.keys_B, INPUT_NOISE)
    shape = (x_TBD.shape[0], x_TBD.shape[2])
    noise_BTD = jax.vmap(lambda key: jax.random.normal(key, shape))(keys_B)
    return x_TBD + regularization.rates["input_noise"] * noise_BTD.swapaxes(0, 1)


def fold_in(regularization: Regularization, place: int) -> Regularization:
    """Returns the same rates with keys of their own for a layer and direction."""
    if regularization.key is None or regularization.keys_B is None:
        return regularization
    keys_B = jax.vmap(jax.random.fold_in, (0, None))(regularization.keys_B, place)
    return Regularization(
        regularization.rates, jax.random.fold_in(regularization.key, place), keys_B
    )


def drop_words(embedding_VD: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Zeroes the embeddings of words, for a whole batch, and rescales the rest.

    Args:
      embedding_VD: the table.
      rate: probability of zero.
      key: of the step.

    Source: Gal and Ghahramani 2016, section 4.2.
    """
    keep_V1 = jax.random.bernoulli(
        jax.random.fold_in(key, WORDS), 1.0 - rate, (embedding_VD.shape[0], 1)
    )
    return jnp.where(keep_V1, embedding_VD / (1.0 - rate), jnp.zeros_like(embedding_VD))
