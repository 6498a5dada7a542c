"""Encoder and decoder with attention as a Flax module: one sequence from another one.

Inputs are the tokens of the source and the previous target tokens; outputs are the logits of the
next target token. Training calls the module as a whole (teacher forcing); `beam_search.py` calls
`encode` once and then `decode` step by step. The file to read next is `translation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.cell import State, zero_state_shapes
from lstm_lab.config.sections import Attention
from lstm_lab.models.head import Outputs
from lstm_lab.models.recurrent import LSTM, States
from lstm_lab.models.regularization import ENCODER, Regularization, drop_features, fold_in
from lstm_lab.tasks import SourceTokens


class Memory(NamedTuple):
    """The encoded source, as the decoder reads it.

    Attributes:
      h_BSE: outputs of the encoder.
      keys_BSA: attention keys; queries are compared with them.
      real_BS: true at real steps, false at padding.
      states: initial states of the decoder.
    """

    h_BSE: jax.Array
    keys_BSA: jax.Array
    real_BS: jax.Array
    states: States


class EncoderDecoder(nn.Module):
    """Maps a source sequence and the previous target symbols to logits of the next symbol.

    The initial state of each decoder layer is a dense function of the final state of the encoder
    layer at the same depth. With encoder outputs m_s and decoder outputs h_t, attention is one of:

    none: the head reads h_t.
    luong: a_ts = softmax_s(h_t W m_s), c_t = sum_s a_ts m_s, and the head reads
      tanh(V [c_t; h_t]) (Luong, Pham and Manning 2015, score `general`). c_t is not fed to the
      next step, so that one call of the recurrence computes all steps.
    bahdanau: a_ts = softmax_s(v tanh(W h_{t-1} + U m_s)), c_t = sum_s a_ts m_s. Step t reads
      [x_t; c_t], the head reads [h_t; c_t] (Bahdanau, Cho and Bengio 2015). Steps are computed one
      after another, which is slower.

    Attributes:
      encoder, decoder: the recurrent stacks; the encoder may be bidirectional.
      source_vocabulary, vocabulary: number of symbols of the source and of the target.
      embedding: features of the embedding of a symbol.
      attention: none, luong or bahdanau.
      dropout_out: dropout rate before the head.
      dtype: compute dtype.
    """

    encoder: LSTM
    decoder: LSTM
    source_vocabulary: int
    vocabulary: int
    embedding: int
    attention: Attention = "luong"
    dropout_out: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the parameters outside the stacks."""
        zeros = [zero_state_shapes(self.decoder.spec, H) for H in self.decoder.hidden_sizes]
        # Not the hidden units: the h of a cell with a projection is narrower, and its c is not.
        width = zeros[-1].h.shape[-1]
        self.embed_source = nn.Embed(self.source_vocabulary, self.embedding, dtype=self.dtype)
        self.embed = nn.Embed(self.vocabulary, self.embedding, dtype=self.dtype)
        self.bridges = [
            {
                part: nn.Dense(
                    getattr(zero, part).shape[-1], dtype=self.dtype, name=f"bridge_{layer}_{part}"
                )
                for part in "hc"
                if getattr(zero, part) is not None
            }
            for layer, zero in enumerate(zeros)
        ]
        if self.attention != "none":
            self.keys = nn.Dense(width, use_bias=False, dtype=self.dtype)
        if self.attention == "luong":
            self.mix = nn.Dense(width, use_bias=False, dtype=self.dtype)
        if self.attention == "bahdanau":
            self.query = nn.Dense(width, dtype=self.dtype)
            self.score = nn.Dense(1, use_bias=False, dtype=self.dtype)
        self.head = nn.Dense(self.vocabulary, dtype=self.dtype)

    def __call__(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        source: SourceTokens | None = None,
    ) -> jax.Array:
        """Returns the logits of whole sequences (teacher forcing)."""
        return self.logits_and_states(x, lengths, regularization, source=source)[0]

    def logits_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
        source: SourceTokens | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits from the correct previous symbols (teacher forcing).

        Args:
          x: previous symbols [B,T].
          lengths: number of real steps of each row [B], or None if all rows have T.
          regularization: rates and keys; None means evaluation.
          states, is_start: not used, since each sequence starts with its source. They are here
            because training calls both kinds of model in the same way.
          source: tokens and lengths, as `tasks.SourceTokens`; None stands for one unknown symbol.

        Returns:
          float32 logits [B,T,V], and the final states of the decoder.
        """
        del states, is_start
        memory = self._encode_source(x, source, regularization)
        return self.decode(x, memory.states, memory, lengths, regularization)

    def outputs_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
        source: SourceTokens | None = None,
    ) -> tuple[Outputs, States]:
        """Computes the same as `logits_and_states`, but does not apply the head."""
        del states, is_start
        memory = self._encode_source(x, source, regularization)
        features_TBH, final_states = self._decode_features(
            x, memory.states, memory, lengths, regularization
        )
        weights = self.head.variables["params"]
        head = weights["kernel"], weights["bias"]
        return Outputs(features_TBH, *head, self.decoder.device), final_states

    def _encode_source(
        self, x_BT: jax.Array, source: SourceTokens | None, regularization: Regularization | None
    ) -> Memory:
        # Without a source, as where only shapes or parameters are asked for: one unknown symbol.
        tokens_BS, lengths_B = source or (jnp.zeros((x_BT.shape[0], 1), jnp.int32), None)
        return self.encode(tokens_BS, lengths_B, regularization)

    def encode(
        self,
        tokens_BS: jax.Array,
        lengths_B: jax.Array | None,
        regularization: Regularization | None = None,
    ) -> Memory:
        """Encodes the source.

        Args:
          tokens_BS: source tokens [B,S].
          lengths_B: number of real tokens of each row [B], or None if all rows have S.
          regularization: rates and keys; None means evaluation.
        """
        B, S = tokens_BS.shape
        x_SBD = self.embed_source(tokens_BS.T)
        if regularization is not None:
            # Both stacks number their layers from 0: with the same keys, a layer of the encoder and
            # one of the decoder would drop the same units.
            regularization = fold_in(regularization, ENCODER)
        h_SBE, final_states = self.encoder(x_SBD, lengths=lengths_B, regularization=regularization)
        h_BSE = h_SBE.swapaxes(0, 1)
        # Once per source: they are the same for all steps of the decoder.
        keys_BSA = self.keys(h_BSE) if self.attention != "none" else h_BSE
        real_BS = jnp.ones((B, S), bool)
        if lengths_B is not None:
            real_BS = jnp.arange(S)[None] < lengths_B[:, None]
        states = tuple(
            (self._bridge(directions, bridges),)
            for directions, bridges in zip(final_states, self.bridges, strict=True)
        )
        return Memory(h_BSE, keys_BSA, real_BS, states)

    def _bridge(self, directions: tuple[State, ...], bridges: Mapping[str, nn.Dense]) -> State:
        """Returns the initial state of a decoder layer, given the final ones of the encoder's.

        Only h and c pass through a dense layer; other fields of a cell's state are copied from the
        forward direction.
        """
        initial = directions[0]
        for part, bridge in bridges.items():
            finals = [getattr(state, part) for state in directions]
            joined = jnp.concatenate([final.astype(self.dtype) for final in finals], -1)
            initial = initial._replace(**{part: bridge(joined).astype(finals[0].dtype)})
        return initial

    def decode(
        self,
        x_BT: jax.Array,
        states: States,
        memory: Memory,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits and final states of the decoder.

        Args:
          x_BT: previous symbols [B,T].
          states: states of the decoder before them.
          memory: the encoded source.
          lengths, regularization: as in `logits_and_states`.

        Returns:
          float32 logits [B,T,V], and the states after the last step.
        """
        features_TBH, final_states = self._decode_features(
            x_BT, states, memory, lengths, regularization
        )
        return self.head(features_TBH).astype(jnp.float32).swapaxes(0, 1), final_states

    def _decode_features(
        self,
        x_BT: jax.Array,
        states: States,
        memory: Memory,
        lengths: jax.Array | None,
        regularization: Regularization | None,
    ) -> tuple[jax.Array, States]:
        """Returns what the head reads [T,B,H], and the states after the last step."""
        x_TBD = self.embed(x_BT.T)
        if self.attention == "bahdanau":
            features_TBH, final_states = self._decode_stepwise(x_TBD, states, memory)
        else:
            h_TBH, final_states = self.decoder(
                x_TBD, states, lengths=lengths, regularization=regularization
            )
            features_TBH = h_TBH
            if self.attention == "luong":
                score_BTS = jnp.einsum("tbh,bsh->bts", h_TBH, memory.keys_BSA)
                context_BTE = self._attend(score_BTS, memory)
                joined = jnp.concatenate([context_BTE.swapaxes(0, 1), h_TBH], -1)
                features_TBH = jnp.tanh(self.mix(joined))
        return drop_features(features_TBH, self.dropout_out, regularization), final_states

    def _attend(self, score_BTS: jax.Array, memory: Memory) -> jax.Array:
        """Returns context vectors [B,T,E]: encoder outputs averaged with weights softmax(score)."""
        # float32 for the softmax: in bfloat16 the weights of a long source would not sum to 1. A
        # row without real steps would give NaN, so tasks give every source at least one symbol.
        masked = jnp.where(memory.real_BS[:, None], score_BTS.astype(jnp.float32), -jnp.inf)
        weight_BTS = jax.nn.softmax(masked).astype(memory.h_BSE.dtype)
        return jnp.einsum("bts,bse->bte", weight_BTS, memory.h_BSE)

    def _decode_stepwise(
        self, x_TBD: jax.Array, states: States, memory: Memory
    ) -> tuple[jax.Array, States]:
        """Runs the decoder one step at a time, with the context vector among its inputs."""

        def step(
            module: EncoderDecoder, states: States, x_BD: jax.Array
        ) -> tuple[States, jax.Array]:
            query_B1A = module.query(states[-1][0].h)[:, None]
            score_BS = module.score(jnp.tanh(query_B1A + memory.keys_BSA))[..., 0]
            context_BE = module._attend(score_BS[:, None], memory)[:, 0]
            joined_BD = jnp.concatenate([x_BD, context_BE], -1)
            h_1BH, states = module.decoder(joined_BD[None], states)
            return states, jnp.concatenate([h_1BH[0], context_BE], -1)

        # All steps share the parameters, and so the key from which `init` draws them.
        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        final_states, features_TBH = scan(self, states, x_TBD)
        return features_TBH, final_states
