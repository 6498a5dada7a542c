"""Regularization outside the cells: dropout between layers, word dropout, noise on inputs.

`Regularization` carries rates and random keys from the training step through the model; the masks
inside a cell are drawn by `cells/masks.py`. A module that gets no keys runs in evaluation mode.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.cells.masks import Rates

# Numbers that are folded into keys, one per purpose. Layers and directions use small numbers, so
# these start high enough never to collide with them.
INPUT_NOISE, OUTPUT, WORDS, ENCODER = range(2**31, 2**31 + 4)


class Regularization(NamedTuple):
    """Rates and random keys of one training step.

    Attributes:
      rates: rates by name, as floats or scalar arrays; the cell's default applies to missing ones.
      key: key of the step, for masks that all examples share; None means evaluation.
      keys_B: one key per example; None means evaluation.

    Example:
      key = jax.random.key(1)
      step = Regularization({"zoneout_h": 0.1}, key, jax.random.split(key, B))
      h_TBH, final_states = stack.apply(variables, x_TBD, regularization=step)
    """

    rates: Rates
    key: jax.Array | None = None
    keys_B: jax.Array | None = None


def dropout(
    x_TBD: jax.Array, rate: float, keys_B: jax.Array, parts: int = 1, *, locked: bool = False
) -> jax.Array:
    """Sets units to zero with probability p = `rate` and divides the others by 1 - p.

    Each example has its own key and the unit axis comes first in the draw. A mask therefore does
    not depend on how the batch is split over devices, nor on units that are only padding.

    Args:
      x_TBD: inputs [T,B,D].
      rate: probability of zero.
      keys_B: one key per example.
      parts: number of directions that are concatenated in D.
      locked: whether all steps of a sequence share one mask (Gal and Ghahramani 2016).

    Returns:
      An array like x_TBD.
    """
    T, B, D = x_TBD.shape
    steps = 1 if locked else T
    shape = (D // parts, steps, parts)
    keep_BHTP = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, shape))(keys_B)
    keep_TBD = keep_BHTP.transpose(2, 0, 3, 1).reshape(steps, B, D)
    return jnp.where(keep_TBD, x_TBD / (1.0 - rate), jnp.zeros_like(x_TBD))


def add_noise(x_TBD: jax.Array, regularization: Regularization | None) -> jax.Array:
    """Adds Gaussian noise with standard deviation `input_noise`, if the rates have it.

    Args:
      x_TBD: inputs [T,B,D].
      regularization: rates and keys; without keys (evaluation) no noise is added.

    Returns:
      An array like x_TBD.
    """
    if (
        regularization is None
        or regularization.keys_B is None
        or "input_noise" not in regularization.rates
    ):
        return x_TBD
    keys_B = _fold_each(regularization.keys_B, INPUT_NOISE)
    shape = (x_TBD.shape[0], x_TBD.shape[2])
    noise_BTD = jax.vmap(lambda key: jax.random.normal(key, shape))(keys_B)
    return x_TBD + regularization.rates["input_noise"] * noise_BTD.swapaxes(0, 1)


def drop_features(
    features: jax.Array,
    rate: float,
    regularization: Regularization | None,
    *,
    locked: bool = False,
) -> jax.Array:
    """Applies the dropout before the head; without keys (evaluation) nothing is dropped.

    Args:
      features: what the head reads, [T,B,H] at every step or [B,H] at the last one.
      rate: probability of zero.
      regularization: keys of the step, one per example.
      locked: as in `dropout`.

    Returns:
      An array like `features`.
    """
    if not rate or regularization is None or regularization.keys_B is None:
        return features
    keys_B = _fold_each(regularization.keys_B, OUTPUT)
    features_TBH = features.reshape(-1, *features.shape[-2:])
    return dropout(features_TBH, rate, keys_B, locked=locked).reshape(features.shape)


def fold_in(regularization: Regularization, index: int) -> Regularization:
    """Returns the same rates with keys derived for a layer and direction, or a stack, by number."""
    if regularization.key is None or regularization.keys_B is None:
        return regularization
    return Regularization(
        regularization.rates,
        jax.random.fold_in(regularization.key, index),
        _fold_each(regularization.keys_B, index),
    )


def _fold_each(keys_B: jax.Array, number: int) -> jax.Array:
    """Folds a number into the key of each example."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys_B, number)


def drop_words_of_sequences(
    x_TBD: jax.Array, words_TB: jax.Array, rate: float, keys_B: jax.Array
) -> jax.Array:
    """Drops words in each sequence on its own, with all their occurrences, and rescales the others.

    A word's fate depends on the key of its sequence and on the word alone.

    Args:
      x_TBD: embeddings of the words.
      words_TB: numbers of the words.
      rate: probability of zero.
      keys_B: one key per sequence.

    Source: Gal and Ghahramani 2016, section 4.2, as in the authors' code.
    """

    def kept(key: jax.Array, words_T: jax.Array) -> jax.Array:
        keys_T = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, WORDS), words_T)
        return jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate))(keys_T)

    keep_TB1 = jax.vmap(kept, (0, 1), 1)(keys_B, words_TB)[..., None]
    return jnp.where(keep_TB1, x_TBD / (1.0 - rate), jnp.zeros_like(x_TBD))


def drop_words(embedding_VD: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Drops words: sets rows of the embedding to zero for a whole batch and rescales the others.

    Args:
      embedding_VD: the embedding table.
      rate: probability of zero.
      key: key of the step.

    Source: Merity, Keskar and Socher 2017, section 4.3, after Gal and Ghahramani 2016.
    """
    keep_V1 = jax.random.bernoulli(
        jax.random.fold_in(key, WORDS), 1.0 - rate, (embedding_VD.shape[0], 1)
    )
    return jnp.where(keep_V1, embedding_VD / (1.0 - rate), jnp.zeros_like(embedding_VD))
