"""Encoder and decoder with attention, as a Flax module: one sequence from another."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import State
from lstm_lab.config.sections import Attention
from lstm_lab.models.recurrent import LSTM, States
from lstm_lab.models.regularization import OUTPUT, Regularization, dropout


class Memory(NamedTuple):
    """What the decoder sees of the source.

    Attributes:
      h_BSE: the encoder's outputs.
      keys_BSA: what a query is compared with.
      real_BS: whether a step is one.
      states: what the decoder begins with.
    """

    h_BSE: jax.Array
    keys_BSA: jax.Array
    real_BS: jax.Array
    states: States


class EncoderDecoder(nn.Module):
    """A sequence of symbols from another one.

    The decoder begins with the encoder's last states, through one dense layer each. Attention:

    luong: a_ts = softmax_s(h_t W m_s), c_t = sum_s a_ts m_s, and tanh(V [c_t; h_t]) is read by the
      head; h_t is the decoder's output (Luong, Pham and Manning 2015, `general`, without feeding
      c_t to the next step, so that all steps are computed at once);
    bahdanau: a_ts = softmax_s(v tanh(W h_{t-1} + U m_s)), and c_t joins the input of step t and the
      head's (Bahdanau, Cho and Bengio 2015, with this package's cells).

    Attributes:
      encoder, decoder: the recurrent stacks; the encoder may run in both directions.
      source_vocabulary, vocabulary: symbols.
      embedding: features of a symbol.
      attention: none, luong or bahdanau.
      dropout_in, dropout_out: rates on embeddings, and before the head.
      dtype: compute dtype.
    """

    encoder: LSTM
    decoder: LSTM
    source_vocabulary: int
    vocabulary: int
    embedding: int
    attention: Attention = "luong"
    dropout_out: float = 0.0
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declares the parameters around the stacks."""
        width = self.decoder.hidden_sizes[-1]
        self.embed_source = nn.Embed(self.source_vocabulary, self.embedding, dtype=self.dtype)
        self.embed = nn.Embed(self.vocabulary, self.embedding, dtype=self.dtype)
        self.bridges = [
            [nn.Dense(units, dtype=self.dtype, name=f"bridge_{layer}_{part}") for part in "hc"]
            for layer, units in enumerate(self.decoder.hidden_sizes)
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
        source: Any = None,
    ) -> jax.Array:
        """Computes the logits of whole sequences, as `logits_and_states` does."""
        return self.logits_and_states(x, lengths, regularization, source=source)[0]

    def logits_and_states(
        self,
        x: jax.Array,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
        states: States | None = None,
        is_start: jax.Array | None = None,
        source: Any = None,
    ) -> tuple[jax.Array, States]:
        """Computes logits with the right symbols before (teacher forcing).

        Args:
          x: symbols before [B,T].
          lengths: real steps of each row [B], or None for T.
          regularization: rates and keys; None means evaluation.
          states, is_start: not used; sequences are whole.
          source: the source, as `tasks.Given`; None stands for one unknown symbol.

        Returns:
          float32 logits [B,T,V], and the decoder's final states.
        """
        del states, is_start
        tokens_BS, lengths_B = source or (jnp.zeros((x.shape[0], 1), jnp.int32), None)
        memory = self.encode(tokens_BS, lengths_B, regularization)
        return self.decode(x, memory.states, memory, lengths, regularization)

    def encode(
        self,
        tokens_BS: jax.Array,
        lengths_B: jax.Array | None,
        regularization: Regularization | None = None,
    ) -> Memory:
        """Reads the source."""
        B, S = tokens_BS.shape
        x_SBD = self.embed_source(tokens_BS.T)
        h_SBE, finals = self.encoder(x_SBD, lengths=lengths_B, regularization=regularization)
        h_BSE = h_SBE.swapaxes(0, 1)
        keys_BSA = self.keys(h_BSE) if self.attention != "none" else h_BSE
        real_BS = jnp.ones((B, S), bool)
        if lengths_B is not None:
            real_BS = jnp.arange(S)[None] < lengths_B[:, None]
        begun = tuple(
            (self._begin(directions, bridges),)
            for directions, bridges in zip(finals, self.bridges, strict=True)
        )
        return Memory(h_BSE, keys_BSA, real_BS, begun)

    def _begin(self, directions: tuple[State, ...], bridges: list[nn.Dense]) -> State:
        """Returns a decoder layer's first state, from those that the encoder's layer ended with."""
        begun = directions[0]
        for part, bridge in zip("hc", bridges, strict=True):
            ends = [getattr(state, part) for state in directions]
            if ends[0] is not None:
                joined = jnp.concatenate([end.astype(self.dtype) for end in ends], -1)
                begun = begun._replace(**{part: bridge(joined).astype(ends[0].dtype)})
        return begun

    def decode(
        self,
        x_BT: jax.Array,
        states: States,
        memory: Memory,
        lengths: jax.Array | None = None,
        regularization: Regularization | None = None,
    ) -> tuple[jax.Array, States]:
        """Computes the logits [B,T,V] of symbols x, and the states after them."""
        x_TBD = self.embed(x_BT.T)
        if self.attention == "bahdanau":
            features_TBH, finals = self._step_by_step(x_TBD, states, memory)
        else:
            h_TBH, finals = self.decoder(
                x_TBD, states, lengths=lengths, regularization=regularization
            )
            features_TBH = h_TBH
            if self.attention == "luong":
                score_BTS = jnp.einsum("tbh,bsh->bts", h_TBH, memory.keys_BSA)
                context_BTE = self._attend(score_BTS, memory)
                joined = jnp.concatenate([context_BTE.swapaxes(0, 1), h_TBH], -1)
                features_TBH = jnp.tanh(self.mix(joined))
        if self.dropout_out and regularization is not None and regularization.keys_B is not None:
            keys_B = jax.vmap(jax.random.fold_in, (0, None))(regularization.keys_B, OUTPUT)
            features_TBH = dropout(features_TBH, self.dropout_out, keys_B)
        return self.head(features_TBH).astype(jnp.float32).swapaxes(0, 1), finals

    def _attend(self, score_BTS: jax.Array, memory: Memory) -> jax.Array:
        """Returns the mean of the encoder's outputs by the scores [B,T,E]."""
        masked = jnp.where(memory.real_BS[:, None], score_BTS.astype(jnp.float32), -jnp.inf)
        share_BTS = jax.nn.softmax(masked).astype(memory.h_BSE.dtype)
        return jnp.einsum("bts,bse->bte", share_BTS, memory.h_BSE)

    def _step_by_step(
        self, x_TBD: jax.Array, states: States, memory: Memory
    ) -> tuple[jax.Array, States]:
        """Runs the decoder with what is attended to at each step among its inputs."""

        def step(module: EncoderDecoder, states: States, x_BD: jax.Array) -> Any:
            query_B1A = module.query(states[-1][0].h)[:, None]
            score_BS = module.score(jnp.tanh(query_B1A + memory.keys_BSA))[..., 0]
            context_BE = module._attend(score_BS[:, None], memory)[:, 0]
            joined_BD = jnp.concatenate([x_BD, context_BE], -1)
            h_1BH, states = module.decoder(joined_BD[None], states)
            return states, jnp.concatenate([h_1BH[0], context_BE], -1)

        run = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        finals, features_TBH = run(self, states, x_TBD)
        return features_TBH, finals
