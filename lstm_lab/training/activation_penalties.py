"""Penalties on the outputs of the last layer: AR and TAR of AWD-LSTM.

`TrainStep` adds them to the loss of a batch before it is differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lstm_lab.config.sections import TrainSpec
from lstm_lab.tasks import Batch


def penalty(
    train: TrainSpec, features: Mapping[str, tuple[jax.Array, ...]], batch: Batch
) -> jax.Array:
    """Returns the penalties of a batch, summed over real steps.

    alpha * mean(d_t^2) + beta * mean((h_t - h_{t-1})^2)

    d is the last layer's output after dropout, h the output before it; means are over units.

    Args:
      train: alpha is `activation_reg`, beta is `temporal_reg`.
      features: `raw` and `dropped`, each a tuple of one array [T,B,H], as the model stores them.
      batch: the examples.

    Source: Merity, McCann and Socher 2017, Revisiting activation regularization.
    """
    (raw_TBH,), (dropped_TBH,) = features["raw"], features["dropped"]
    T = raw_TBH.shape[0]
    lengths = batch.examples.lengths
    length_1B = jnp.full((1, 1), T) if lengths is None else lengths[None]
    # Padding, and rows that only fill the batch, have weight 0.
    weight_TB = (jnp.arange(T)[:, None] < length_1B) * batch.weight_B[None]
    # In float32 whatever the compute dtype: sums over thousands of steps need the digits.
    square_TB = jnp.square(dropped_TBH.astype(jnp.float32)).mean(-1)
    change_TB = jnp.square(jnp.diff(raw_TBH.astype(jnp.float32), axis=0)).mean(-1)
    return (
        train.activation_reg * (weight_TB * square_TB).sum()
        + train.temporal_reg * (weight_TB[1:] * change_TB).sum()
    )
