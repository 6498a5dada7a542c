"""The model of a spec: embedding, recurrent stack and head, as a Flax module."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells.initializers import init_matrix, init_vector
from lstm_lab.models.recurrent import LSTM, States
from lstm_lab.models.regularization import OUTPUT, Regularization, add_noise, drop_words, dropout


class SequenceModel(nn.Module):
    """Embedding or vectors, then an LSTM stack, then a dense head, batch-major outside.

    Attributes:
      lstm: the recurrent stack.
      vocabulary: symbols where inputs are tokens; None where they are vectors.
      embedding: features of a token's embedding; None is one-hot.
      outputs: numbers that the head gives.
      initializer: of head and embedding, as in `cells.gates.initialise`.
      dropout_out: rate before the head.
      dropout_words: rate at which words are dropped, wherever they occur in a batch.
      tied: use the embedding as the head's matrix, too.
      subtract_last: read vectors as differences to a sequence's last one.
      dtype: compute dtype.
    """

    lstm: LSTM
    vocabulary: int | None
    embedding: int | None
    outputs: int
    initializer: str
    dropout_out: float = 0.0
    dropout_words: float = 0.0
    tied: bool = False
    subtract_last: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declares the parameters around the stack."""
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
        """Computes the logits of whole sequences, as `logits_and_states` does."""
        return self.logits_and_states(x, lengths, regularization)[0]

    def logits_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits, from a state carried.

        Args:
          x: tokens [B,T] or vectors [B,T,D].
          lengths: real steps of each row [B], or None for T.
          regularization: rates and keys; None means evaluation at the variant's own rates.
          states, is_start: as in `LSTM`.

        Returns:
          float32 logits, [B,T,C] at every step or [B,C] at the last; and the final states.
        """
        if self.subtract_last:
            x = subtract_last(x, lengths)
        x_TBD = self._read(jnp.swapaxes(x, 0, 1), regularization)
        features, finals = self.lstm(
            x_TBD, states, lengths=lengths, is_start=is_start, regularization=regularization
        )
        self._keep("raw", features)
        logits = self._answer(features, regularization).astype(jnp.float32)
        return (jnp.swapaxes(logits, 0, 1) if self.lstm.return_sequences else logits), finals

    def _read(self, x_T: jax.Array, regularization: Regularization | None) -> jax.Array:
        """Returns what the stack reads [T,B,D]."""
        if self.vocabulary is None:
            return add_noise(x_T, regularization).astype(self.dtype)
        if self.embedding is None:
            return jax.nn.one_hot(x_T, self.vocabulary, dtype=self.dtype)
        if not self.dropout_words or regularization is None or regularization.key is None:
            return self.embed(x_T)
        table_VD = drop_words(self.embed.embedding, self.dropout_words, regularization.key)
        return table_VD.astype(self.dtype)[x_T]

    def _answer(self, features: jax.Array, regularization: Regularization | None) -> jax.Array:
        """Returns the head's outputs of features [T,B,H] or [B,H]."""
        if self.dropout_out and regularization is not None and regularization.keys_B is not None:
            keys_B = jax.vmap(jax.random.fold_in, (0, None))(regularization.keys_B, OUTPUT)
            features_TBH = features.reshape(-1, *features.shape[-2:])
            locked = self.lstm.locked
            dropped = dropout(features_TBH, self.dropout_out, keys_B, locked=locked)
            features = dropped.reshape(features.shape)
        self._keep("dropped", features)
        if not self.tied:
            return self.head(features)
        return self.embed.attend(features) + jnp.expand_dims(self.bias, range(features.ndim - 1))

    def _keep(self, name: str, features: jax.Array) -> None:
        """Keeps the last layer's outputs for whoever applies the model with mutable `features`."""
        if not self.is_initializing():
            self.sow("features", name, features)

    def _embedding_init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        """Draws the embedding: at the initialiser's scale where it names one, else Flax's own."""
        if "(" in self.initializer and not self.initializer.startswith("chrono"):
            return init_matrix(self.initializer, key, shape, shape[1], recurrent=False)
        return nn.linear.default_embed_init(key, shape, dtype)

    def _kernel_init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        del dtype
        return init_matrix(self.initializer, key, shape, shape[0], recurrent=False)

    def _bias_init(self, key: jax.Array, shape: tuple[int], dtype: Any) -> jax.Array:
        del dtype
        return init_vector(self.initializer, key, shape[0])


def subtract_last(x_BTD: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Returns vectors [B,T,D] as differences to each row's last real one."""
    if lengths is None:
        return x_BTD - x_BTD[:, -1:]
    last_B11 = jnp.maximum(lengths - 1, 0)[:, None, None]
    return x_BTD - jnp.take_along_axis(x_BTD, last_B11, axis=1)
