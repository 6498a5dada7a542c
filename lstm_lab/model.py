"""The model of a spec: embedding, recurrent stack and head, as a Flax module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells import masks
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.initializers import initialise, initialise_vector
from lstm_lab.encoder_decoder import Attention, EncoderDecoder
from lstm_lab.recurrence import Backend
from lstm_lab.regularise import OUTPUT, Regularise, add_noise, drop_words, dropout
from lstm_lab.stack import LSTM, Merge, States


@dataclass(frozen=True)
class ModelSpec:
    """Which model to build.

    Attributes:
      cell: a variant of the catalogue, or FILE.py:NAME for a spec of your own.
      hidden: hidden units of every layer.
      widths: hidden units of each layer, where they differ; replaces `hidden` and `layers`.
      layers: stacked layers.
      bidirectional: run every layer in both directions.
      merge: how the two directions are joined.
      dropout: rate between layers, in training.
      dropout_in, dropout_out: rates before the first layer and after the last.
      dropout_words: rate at which words are dropped, wherever they occur in a batch.
      locked: let dropout keep its mask over the steps of a sequence.
      residual: add a layer's input to its output, from the second layer on.
      tied: use the embedding as the head's matrix, too.
      vectors: file of word vectors in text, a word and its numbers a line, with which the
        embedding begins.
      attention: of a decoder to the encoder's outputs; see encoder_decoder.py.
      embedding: features of a token's embedding; None feeds tokens as one-hot vectors.
      centre: read vectors as differences to a sequence's last one, so that no level is seen (as the
        NLinear of Zeng et al. 2023).
      forget_bias: initial forget-gate bias; None is the variant's own.
      init: initialiser of cell and head (cells/gated.py); None is the variant's own.
      dtype: compute dtype; parameters and cell states stay float32.
      precision: of matrix products, as in `jax.default_matmul_precision`.
      input_noise: standard deviation of the Gaussian noise that training adds to vectors; None
        adds none. A number in which the members of a cohort may differ, as are:
      zoneout_c, zoneout_h, recurrent_dropout, input_dropout, weight_drop: rates of the cell's
        regularisers; None is the rate of the variant's paper.
    """

    cell: str = "lstm"
    hidden: int = 64
    widths: tuple[int, ...] | None = None
    layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    dropout_in: float = 0.0
    dropout_out: float = 0.0
    dropout_words: float = 0.0
    locked: bool = False
    residual: bool = False
    tied: bool = False
    vectors: str | None = None
    attention: Attention = "luong"
    embedding: int | None = None
    centre: bool = False
    forget_bias: float | None = None
    init: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    precision: Literal["default", "high", "highest"] = "default"
    input_noise: float | None = None
    zoneout_c: float | None = None
    zoneout_h: float | None = None
    recurrent_dropout: float | None = None
    input_dropout: float | None = None
    weight_drop: float | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("embedding", 1 if self.embedding is None else self.embedding),
            *((f"widths[{k}]", width) for k, width in enumerate(self.widths or ())),
        ):
            if value < 1:
                raise ValueError(f"{name}: found {value}, allowed 1 or more")
        if self.widths is not None and not self.widths:
            raise ValueError("widths: found (), allowed one width or more")
        if self.widths is not None and self.layers not in (1, len(self.widths)):
            raise ValueError(f"widths: found {len(self.widths)} for {self.layers} layers")
        for name in ("dropout", "dropout_in", "dropout_out", "dropout_words", *masks.RATES):
            rate = getattr(self, name)
            if rate is not None and not 0.0 <= rate < 1.0:
                raise ValueError(f"{name}: found {rate}, allowed 0 or more and below 1")
        if self.input_noise is not None and self.input_noise < 0.0:
            raise ValueError(f"input_noise: found {self.input_noise}, allowed 0 or more")
        if self.dropout and len(self.layer_widths) == 1:
            raise ValueError("dropout: acts between layers, and the model has one layer")
        for name in ("dropout_words", "tied", "vectors"):
            if getattr(self, name) and self.embedding is None:
                raise ValueError(f"{name}: needs an embedding, found none")
        if self.tied and self.embedding != self.layer_widths[-1] * self._joined:
            raise ValueError(
                f"tied: the last layer gives {self.layer_widths[-1] * self._joined} features, "
                f"the embedding has {self.embedding}"
            )
        if self.residual and len(set(self.layer_widths)) > 1:
            raise ValueError(f"residual: needs equal widths, found {self.layer_widths}")

    @property
    def _joined(self) -> int:
        """How many directions lie side by side in a layer's output."""
        return 2 if self.bidirectional and self.merge == "concat" else 1

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return self.widths or (self.hidden,) * self.layers


class SequenceModel(nn.Module):
    """Embedding or vectors, then an LSTM stack, then a dense head, batch-major outside.

    Attributes:
      lstm: the recurrent stack.
      vocabulary: symbols where inputs are tokens; None where they are vectors.
      embedding: features of a token's embedding; None is one-hot.
      outputs: numbers that the head gives.
      initialiser: of head and embedding, as in `cells.gates.initialise`.
      dropout_out: rate before the head.
      dropout_words: rate at which words are dropped, wherever they occur in a batch.
      tied: use the embedding as the head's matrix, too.
      centre: read vectors as differences to a sequence's last one.
      dtype: compute dtype.
    """

    lstm: LSTM
    vocabulary: int | None
    embedding: int | None
    outputs: int
    initialiser: str
    dropout_out: float = 0.0
    dropout_words: float = 0.0
    tied: bool = False
    centre: bool = False
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
        regularise: Regularise | None = None,
    ) -> jax.Array:
        """Computes the logits of whole sequences, as `run` does."""
        return self.run(x, lengths, regularise)[0]

    def run(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularise: Regularise | None = None,
        states: States | None = None,
        fresh: jax.Array | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits, from a state carried.

        Args:
          x: tokens [B,T] or vectors [B,T,D].
          lengths: real steps of each row [B], or None for T.
          regularise: rates and keys; None means evaluation at the variant's own rates.
          states, fresh: as in `LSTM`.

        Returns:
          float32 logits, [B,T,C] at every step or [B,C] at the last; and the final states.
        """
        if self.centre:
            x = centred(x, lengths)
        x_TBD = self._read(jnp.swapaxes(x, 0, 1), regularise)
        features, finals = self.lstm(
            x_TBD, states, lengths=lengths, fresh=fresh, regularise=regularise
        )
        self._keep("raw", features)
        logits = self._answer(features, regularise).astype(jnp.float32)
        return (jnp.swapaxes(logits, 0, 1) if self.lstm.return_sequences else logits), finals

    def _read(self, x_T: jax.Array, regularise: Regularise | None) -> jax.Array:
        """Returns what the stack reads [T,B,D]."""
        if self.vocabulary is None:
            return add_noise(x_T, regularise).astype(self.dtype)
        if self.embedding is None:
            return jax.nn.one_hot(x_T, self.vocabulary, dtype=self.dtype)
        if not self.dropout_words or regularise is None or regularise.key is None:
            return self.embed(x_T)
        table_VD = drop_words(self.embed.embedding, self.dropout_words, regularise.key)
        return table_VD.astype(self.dtype)[x_T]

    def _answer(self, features: jax.Array, regularise: Regularise | None) -> jax.Array:
        """Returns the head's outputs of features [T,B,H] or [B,H]."""
        if self.dropout_out and regularise is not None and regularise.keys_B is not None:
            keys_B = jax.vmap(jax.random.fold_in, (0, None))(regularise.keys_B, OUTPUT)
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
        if "(" in self.initialiser and not self.initialiser.startswith("chrono"):
            return initialise(self.initialiser, key, shape, shape[1], recurrent=False)
        return nn.linear.default_embed_init(key, shape, dtype)

    def _kernel_init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        del dtype
        return initialise(self.initialiser, key, shape, shape[0], recurrent=False)

    def _bias_init(self, key: jax.Array, shape: tuple[int], dtype: Any) -> jax.Array:
        del dtype
        return initialise_vector(self.initialiser, key, shape[0])


def centred(x_BTD: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Returns vectors [B,T,D] as differences to each row's last real one."""
    if lengths is None:
        return x_BTD - x_BTD[:, -1:]
    last_B11 = jnp.maximum(lengths - 1, 0)[:, None, None]
    return x_BTD - jnp.take_along_axis(x_BTD, last_B11, axis=1)


def build_model(
    model: ModelSpec,
    cell: Spec,
    *,
    vocabulary: int | None,
    outputs: int,
    every_step: bool,
    backend: Backend = "auto",
    trace: bool = False,
) -> SequenceModel:
    """Builds the module of a model spec.

    Args:
      model: the spec.
      cell: the variant that `model.cell` names, with the model's own forget bias and initialiser.
      vocabulary: symbols where inputs are tokens, None where they are vectors.
      outputs: numbers that the head gives.
      every_step: read every step rather than the last state.
      backend: as in `recurrence.unroll`.
      trace: as in `LSTM`.

    Returns:
      The module; its parameters come from `init(key, x)`.
    """
    return SequenceModel(
        lstm=LSTM(
            spec=cell,
            widths=model.layer_widths,
            bidirectional=model.bidirectional,
            merge=model.merge,
            dropout=model.dropout,
            dropout_in=model.dropout_in,
            locked=model.locked,
            residual=model.residual,
            return_sequences=every_step,
            backend=backend,
            trace=trace,
        ),
        vocabulary=vocabulary,
        embedding=model.embedding,
        outputs=outputs,
        initialiser=getattr(cell, "init", "glorot"),
        dropout_out=model.dropout_out,
        dropout_words=model.dropout_words,
        tied=model.tied,
        centre=model.centre,
        dtype=jnp.dtype(model.dtype),
    )


def build_encoder_decoder(
    model: ModelSpec,
    cell: Spec,
    *,
    source_vocabulary: int,
    vocabulary: int,
    backend: Backend = "auto",
) -> EncoderDecoder:
    """Builds the module of a model spec that gives one sequence from another.

    Args:
      model: the spec; `bidirectional` is of its encoder.
      cell: as in `build_model`.
      source_vocabulary, vocabulary: symbols.
      backend: as in `recurrence.unroll`.

    Returns:
      The module.
    """
    assert model.embedding is not None
    stepwise = model.attention == "bahdanau"
    decoder = LSTM(
        spec=cell,
        widths=model.layer_widths,
        dropout=model.dropout,
        dropout_in=model.dropout_in,
        locked=model.locked,
        residual=model.residual,
        backend="scan" if stepwise else backend,
    )
    return EncoderDecoder(
        encoder=decoder.clone(
            bidirectional=model.bidirectional, merge=model.merge, backend=backend
        ),
        decoder=decoder,
        source_vocabulary=source_vocabulary,
        vocabulary=vocabulary,
        embedding=model.embedding,
        attention=model.attention,
        dropout_out=model.dropout_out,
        dtype=jnp.dtype(model.dtype),
    )
