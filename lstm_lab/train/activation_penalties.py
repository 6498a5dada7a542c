"""What training adds to the loss for what the last layer gives: AR and TAR of AWD-LSTM."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.config.sections import TrainSpec
from lstm_lab.tasks import Batch


def penalty(train: TrainSpec, features: dict[str, Any], batch: Batch) -> jax.Array:
    """Returns the sum over real steps of alpha mean(d^2) + beta mean((h_t - h_{t-1})^2).

    d is the last layer's output after dropout, h before it; means are over units.

    Args:
      train: alpha is `activation_reg`, beta `temporal_reg`.
      features: what the model kept, `raw` and `dropped`, each a tuple of one array [T,B,H].
      batch: the examples.

    Source: Merity, McCann and Socher 2017, Revisiting activation regularization.
    """
    (raw_TBH,), (dropped_TBH,) = features["raw"], features["dropped"]
    T = raw_TBH.shape[0]
    lengths = batch.examples.lengths
    length_1B = jnp.full((1, 1), T) if lengths is None else lengths[None]
    weight_TB = (jnp.arange(T)[:, None] < length_1B) * batch.weight_B[None]
    square_TB = jnp.square(dropped_TBH.astype(jnp.float32)).mean(-1)
    change_TB = jnp.square(jnp.diff(raw_TBH.astype(jnp.float32), axis=0)).mean(-1)
    return (
        train.activation_reg * (weight_TB * square_TB).sum()
        + train.temporal_reg * (weight_TB[1:] * change_TB).sum()
    )
