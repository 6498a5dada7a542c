"""Flax modules over the pure core: embedding, stacked and bidirectional layers, heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells import noise
from lstm_lab.cells.cell import Spec, State
from lstm_lab.cells.initialise import initialise, initialise_vector
from lstm_lab.recurrence import unroll
from lstm_lab.recurrence.unroll import EVERYTHING, Backend
from lstm_lab.regularise import Regularise, add_noise, dropout, folded

Merge = Literal["concat", "sum", "mean", "product"]
States = tuple[tuple[State, ...], ...]


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
      residual: add a layer's input to its output, from the second layer on.
      embedding: features of a token's embedding; None feeds tokens as one-hot vectors.
      forget_bias: initial forget-gate bias; None is the variant's own.
      init: initialiser of cell and head (cells/gates.py); None is the variant's own.
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
    residual: bool = False
    embedding: int | None = None
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
        for name in ("dropout", *noise.RATES):
            rate = getattr(self, name)
            if rate is not None and not 0.0 <= rate < 1.0:
                raise ValueError(f"{name}: found {rate}, allowed 0 or more and below 1")
        if self.input_noise is not None and self.input_noise < 0.0:
            raise ValueError(f"input_noise: found {self.input_noise}, allowed 0 or more")
        if self.dropout and len(self.layer_widths) == 1:
            raise ValueError("dropout: acts between layers, and the model has one layer")
        if self.residual and len(set(self.layer_widths)) > 1:
            raise ValueError(f"residual: needs equal widths, found {self.layer_widths}")

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return self.widths or (self.hidden,) * self.layers


def merge_directions(outputs: list[jax.Array], merge: Merge) -> jax.Array:
    """Joins the outputs of the directions along their last axis."""
    if len(outputs) == 1:
        return outputs[0]
    forward, backward = outputs
    match merge:
        case "concat":
            return jnp.concatenate(outputs, -1)
        case "sum":
            return forward + backward
        case "mean":
            return (forward + backward) / 2
        case "product":
            return forward * backward


class LSTM(nn.Module):
    """Stacked, optionally bidirectional layers of one cell, time-major.

    Attributes:
      spec: the variant.
      widths: hidden units of each layer.
      bidirectional: run every layer in both directions.
      merge: how the two directions are joined.
      dropout: rate between layers.
      residual: add a layer's input to its output, from the second layer on.
      return_sequences: give every step's output rather than the last state's.
      backend: as in `recurrence.unroll`.
      trace: keep gates and states of every step in the collection `traces`, by layer.
    """

    spec: Spec
    widths: tuple[int, ...]
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    residual: bool = False
    return_sequences: bool = True
    backend: Backend = "auto"
    trace: bool = False

    @nn.compact
    def __call__(
        self,
        x_TBD: jax.Array,
        states: States | None = None,
        *,
        lengths: jax.Array | None = None,
        resets: jax.Array | None = None,
        fresh: jax.Array | None = None,
        regularise: Regularise | None = None,
    ) -> tuple[jax.Array, States]:
        """Runs the stack.

        Args:
          x_TBD: inputs [T,B,D].
          states: for each layer and direction the state to start from, or None for zero.
          lengths: real steps of each row [B], or None for T.
          resets: [T,B], true where a new segment starts, or None.
          fresh: whether to start from zero instead of from `states`, a scalar, or None.
          regularise: rates and keys; None means evaluation at the variant's own rates.

        Returns:
          Outputs [T,B,H], or [B,H] of the last state without `return_sequences`; and the final
          states. H doubles when two directions are concatenated.
        """
        regularise = regularise or Regularise({})
        final_states: list[tuple[State, ...]] = []
        h_TBH, last_BH = x_TBD, jnp.zeros(())
        for layer, width in enumerate(self.widths):
            x_TBD = h_TBH
            keys_B = folded(regularise, layer).keys_B
            if layer and self.dropout and keys_B is not None:
                parts = 2 if self.bidirectional and self.merge == "concat" else 1
                x_TBD = dropout(h_TBH, self.dropout, keys_B, parts)
            outputs, finals = [], []
            for direction, reverse in enumerate((False, True)[: 1 + self.bidirectional]):
                name = f"layer_{layer}{'_reverse' if reverse else ''}"
                place = len(self.widths) * (1 + direction) + layer
                params, inputs, masks = self._regularised(
                    self.param(name, self._init, x_TBD.shape[-1], width),
                    x_TBD,
                    folded(regularise, place),
                )
                output, final, *traced = unroll(
                    self.spec,
                    params,
                    inputs,
                    None
                    if states is None
                    else self._begin(params, inputs, states[layer][direction], fresh),
                    lengths=lengths,
                    resets=resets,
                    reverse=reverse,
                    noise=masks,
                    trace=EVERYTHING if self.trace else (),
                    backend=self.backend,
                )
                if self.trace:
                    self.sow("traces", name, *traced)
                outputs.append(output)
                finals.append(final)
            added = self.residual and layer > 0
            output, last = (
                merge_directions(h, self.merge) for h in (outputs, [s.h for s in finals])
            )
            h_TBH = output + h_TBH if added else output
            last_BH = last + last_BH if added else last
            final_states.append(tuple(finals))
        return (h_TBH if self.return_sequences else last_BH), tuple(final_states)

    def _begin(self, params: Any, x_TBD: jax.Array, state: State, fresh: jax.Array | None) -> State:
        """Returns the state to start from."""
        if fresh is None:
            return state
        zx = self.spec.cell.project(self.spec, params, x_TBD[0])
        zero = self.spec.cell.initial(self.spec, params, zx, x_TBD.dtype)
        return jax.tree.map(lambda z, carried: jnp.where(fresh, z, carried), zero, state)

    def _init(self, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
        return self.spec.cell.init(self.spec, key, D, H)

    def _regularised(
        self, params: Any, x_TBD: jax.Array, regularise: Regularise
    ) -> tuple[Any, jax.Array, noise.Noise | None]:
        """Returns a direction's parameters, inputs and noise, in training or in evaluation."""
        rates = {**noise.default_rates(self.spec), **regularise.rates}
        if regularise.key is None or regularise.keys_B is None:
            return params, x_TBD, noise.expected(self.spec, rates)
        params = noise.drop_weights(rates, regularise.key, params)
        masks = noise.draw(self.spec, rates, regularise.keys_B, params, x_TBD.shape[0])
        return params, noise.drop_inputs(rates, regularise.keys_B, x_TBD), masks


class SequenceModel(nn.Module):
    """Embedding or vectors, then an LSTM stack, then a dense head, batch-major outside.

    Attributes:
      lstm: the recurrent stack.
      vocabulary: symbols where inputs are tokens; None where they are vectors.
      embedding: features of a token's embedding; None is one-hot.
      outputs: numbers that the head gives.
      initialiser: of head and embedding, as in `cells.gates.initialise`.
      dtype: compute dtype.
    """

    lstm: LSTM
    vocabulary: int | None
    embedding: int | None
    outputs: int
    initialiser: str
    dtype: Any = jnp.float32

    def __call__(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularise: Regularise | None = None,
    ) -> jax.Array:
        """Computes the logits of whole sequences, as `run` does."""
        return self.run(x, lengths, regularise)[0]

    @nn.compact
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
        x_T = jnp.swapaxes(x, 0, 1)
        if self.vocabulary is None:
            x_TBD = add_noise(x_T, regularise).astype(self.dtype)
        elif self.embedding is None:
            x_TBD = jax.nn.one_hot(x_T, self.vocabulary, dtype=self.dtype)
        else:
            x_TBD = nn.Embed(
                self.vocabulary,
                self.embedding,
                dtype=self.dtype,
                embedding_init=self._embedding_init,
                name="embed",
            )(x_T)
        features, finals = self.lstm(
            x_TBD, states, lengths=lengths, fresh=fresh, regularise=regularise
        )
        logits = nn.Dense(
            self.outputs,
            dtype=self.dtype,
            kernel_init=self._kernel_init,
            bias_init=lambda key, shape, dtype: initialise_vector(self.initialiser, key, shape[0]),
            name="head",
        )(features).astype(jnp.float32)
        return (jnp.swapaxes(logits, 0, 1) if self.lstm.return_sequences else logits), finals

    def _embedding_init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        """Draws the embedding: at the initialiser's scale where it names one, else Flax's own."""
        if "(" in self.initialiser and not self.initialiser.startswith("chrono"):
            return initialise(self.initialiser, key, shape, shape[1], recurrent=False)
        return nn.linear.default_embed_init(key, shape, dtype)

    def _kernel_init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
        del dtype
        return initialise(self.initialiser, key, shape, shape[0], recurrent=False)


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
            residual=model.residual,
            return_sequences=every_step,
            backend=backend,
            trace=trace,
        ),
        vocabulary=vocabulary,
        embedding=model.embedding,
        outputs=outputs,
        initialiser=getattr(cell, "init", "glorot"),
        dtype=jnp.dtype(model.dtype),
    )
