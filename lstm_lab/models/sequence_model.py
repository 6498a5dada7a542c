"""The model of most tasks as a Flax module: embedding, recurrent stack and dense head.

Inputs are tokens [B,T] or vectors [B,T,D], outputs are logits [B,T,C] or [B,C]. Batches are
batch-major outside and time-major inside. `build.py` makes the module from the spec of a run;
`recurrent.py` holds the stack.
"""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.initializers import init_matrix, init_vector, sets_memory_bias
from lstm_lab.models.head import Outputs
from lstm_lab.models.recurrent import LSTM, States
from lstm_lab.models.regularization import (
    Regularization,
    add_noise,
    drop_features,
    drop_words,
    drop_words_of_sequences,
)


class SequenceModel(nn.Module):
    """Embedding (for tokens), LSTM stack, dense head; batch-major outside, time-major inside.

        logits_t = W h_t + b,    h = LSTM(embed(x)) for tokens, or LSTM(x) for vectors

    Attributes:
      lstm: the recurrent stack.
      vocabulary: number of symbols if inputs are tokens, None if they are vectors.
      embedding: features of a token's embedding; None means one-hot.
      outputs: number of outputs of the head, C.
      initializer: initializer of head and embedding, as in `cells.initializers`.
      dropout_out: dropout rate before the head.
      dropout_words: rate of word dropout: a dropped word is zero at all its places in the batch.
      dropout_words_per: `batch`, or `sequence` to drop words in each sequence on its own.
      tied: whether the head uses the embedding matrix as its weights.
      subtract_last: whether to subtract the last real vector of each sequence from its inputs.
      dtype: compute dtype.
    """

    lstm: LSTM
    vocabulary: int | None
    embedding: int | None
    outputs: int
    initializer: str
    dropout_out: float = 0.0
    dropout_words: float = 0.0
    dropout_words_per: Literal["batch", "sequence"] = "batch"
    tied: bool = False
    subtract_last: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the parameters outside the stack."""
        if self.vocabulary is not None and self.embedding is not None:
            self.embed = nn.Embed(
                self.vocabulary,
                self.embedding,
                dtype=self.dtype,
                embedding_init=self._embedding_init,
            )
        if self.tied:
            self.bias = self.param("bias", self._bias_init, (self.outputs,), jnp.float32)
        else:
            self.head = nn.Dense(
                self.outputs,
                dtype=self.dtype,
                kernel_init=self._kernel_init,
                bias_init=self._bias_init,
            )

    def __call__(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
    ) -> jax.Array:
        """Returns the logits of whole sequences that start from the zero state."""
        return self.logits_and_states(x, lengths, regularization)[0]

    def logits_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits and final states, from given initial states.

        Args:
          x: tokens [B,T] or vectors [B,T,D].
          lengths: number of real steps of each row [B], or None if all rows have T.
          regularization: rates and keys; None means evaluation at the rates of `lstm`.
          states, is_start: as in `LSTM`.

        Returns:
          float32 logits, [B,T,C] at every step or [B,C] at the last one; and the final states.
        """
        outputs, final_states = self.outputs_and_states(
            x, lengths, regularization, states, is_start
        )
        # The loss needs float32, whatever the compute dtype.
        logits = self.apply_head(outputs.features).astype(jnp.float32)
        return (jnp.swapaxes(logits, 0, 1) if self.lstm.return_sequences else logits), final_states

    def outputs_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
    ) -> tuple[Outputs, States]:
        """Computes the same as `logits_and_states`, but does not apply the head."""
        x_TBD = self.stack_inputs(x, lengths, regularization)
        features, final_states = self.lstm(
            x_TBD, states, lengths=lengths, is_start=is_start, regularization=regularization
        )
        self._sow_features("raw", features)
        features = drop_features(
            features, self.dropout_out, regularization, locked=self.lstm.locked
        )
        self._sow_features("dropped", features)
        if self.tied:
            head = self.embed.embedding.T, self.bias
            return Outputs(features, *head, self.lstm.device), final_states
        if self.is_initializing():
            self.head(features)  # draws its weights
        weights = self.head.variables["params"]
        head = weights["kernel"], weights["bias"]
        return Outputs(features, *head, self.lstm.device), final_states

    def stack_inputs(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
    ) -> jax.Array:
        """Returns what the recurrent stack reads [T,B,D]: embeddings of tokens, or vectors.

        Args:
          x, lengths, regularization: as in `logits_and_states`.
        """
        if self.subtract_last:
            x = subtract_last(x, lengths)
        x_T = jnp.swapaxes(x, 0, 1)
        if self.vocabulary is None:
            return add_noise(x_T, regularization).astype(self.dtype)
        if self.embedding is None:
            return jax.nn.one_hot(x_T, self.vocabulary, dtype=self.dtype)
        if not self.dropout_words or regularization is None or regularization.key is None:
            return self.embed(x_T)
        if self.dropout_words_per == "sequence":
            assert regularization.keys_B is not None
            x_TBD, keys_B = self.embed(x_T), regularization.keys_B
            return drop_words_of_sequences(x_TBD, x_T, self.dropout_words, keys_B)
        table_VD = drop_words(self.embed.embedding, self.dropout_words, regularization.key)
        return table_VD.astype(self.dtype)[x_T]

    def apply_head(self, features: jax.Array) -> jax.Array:
        """Returns the outputs of the head for features [T,B,H] or [B,H]."""
        if not self.tied:
            return self.head(features)
        return self.embed.attend(features) + jnp.expand_dims(self.bias, range(features.ndim - 1))

    def _sow_features(self, name: str, features: jax.Array) -> None:
        """Stores the outputs of the last layer in the collection `features`.

        Activation penalties read `raw` (before dropout) and `dropped` (after it). Without
        `mutable=["features"]` in `apply`, Flax stores nothing.
        """
        if not self.is_initializing():
            self.sow("features", name, features)

    def _embedding_init(
        self, key: jax.Array, shape: tuple[int, int], dtype: DTypeLike
    ) -> jax.Array:
        """Draws the embedding at the scale of the initializer, or by Flax's default without one."""
        if "(" in self.initializer and not sets_memory_bias(self.initializer):
            return init_matrix(self.initializer, key, shape, shape[1], recurrent=False)
        return nn.linear.default_embed_init(key, shape, dtype)

    def _kernel_init(self, key: jax.Array, shape: tuple[int, int], dtype: DTypeLike) -> jax.Array:
        del dtype
        return init_matrix(self.initializer, key, shape, shape[0], recurrent=False)

    def _bias_init(self, key: jax.Array, shape: tuple[int], dtype: DTypeLike) -> jax.Array:
        del dtype
        return init_vector(self.initializer, key, shape[0])


def subtract_last(x_BTD: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Subtracts the last real vector of each row from the whole row.

    A model then forecasts changes, which makes it robust to a shift of the level between training
    and test (Zeng et al. 2023, Are transformers effective for time series forecasting?, NLinear).

    Args:
      x_BTD: inputs [B,T,D].
      lengths: number of real steps of each row [B], or None if all rows have T.

    Returns:
      An array like x_BTD.
    """
    if lengths is None:
        return x_BTD - x_BTD[:, -1:]
    # A row without real steps has no last vector; index 0 only keeps the gather in range.
    last_B11 = jnp.maximum(lengths - 1, 0)[:, None, None]
    return x_BTD - jnp.take_along_axis(x_BTD, last_B11, axis=1)
