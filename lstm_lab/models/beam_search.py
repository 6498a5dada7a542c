"""Translations: the likeliest sequences of a decoder, by beam search."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import build_model
from lstm_lab.models.encoder_decoder import EncoderDecoder, Memory
from lstm_lab.tasks import SourceTokens
from lstm_lab.tasks.datasets.translation import BEGIN_NUMBER, END_NUMBER

ROWS = 64  # sentences of a compiled call
LENGTH_PENALTY = 0.6


def translate(spec: RunSpec, params: Any, source: SourceTokens, beam: int = 4) -> np.ndarray:
    """Returns translations [N,T], the end's number behind each.

    The score of a hypothesis of n words is its log-probability over ((5 + n) / 6)^0.6.

    Args:
      spec: the run.
      params: its parameters.
      source: sources, host arrays.
      beam: hypotheses kept; 1 takes the likeliest word at each step.

    Source: Wu et al. 2016, Google's neural machine translation system, section 7.
    """
    N, S = source.tokens.shape
    search = _compiled(program_spec(spec), beam, 2 * S + 10)
    found = []
    for begin in range(0, N, ROWS):
        # Filled up with the last sentence, so that all calls have one shape.
        rows = np.minimum(np.arange(begin, begin + min(ROWS, N)), N - 1)
        found.append(np.asarray(search(params, source.tokens[rows], source.lengths[rows])))
    return np.concatenate(found)[:N]


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec, beam: int, longest: int) -> Callable[..., jax.Array]:
    model = build_model(spec)
    assert isinstance(model, EncoderDecoder)

    def search(params: Any, tokens_BS: jax.Array, lengths_B: jax.Array) -> jax.Array:
        variables = {"params": params}
        memory: Any = model.apply(variables, tokens_BS, lengths_B, method="encode")

        def step(symbol_R: jax.Array, states: Any, memory: Memory) -> Any:
            logits, states = model.apply(
                variables, symbol_R[:, None], states, memory, method="decode"
            )
            return jax.nn.log_softmax(logits[:, 0]), states

        return beam_search(step, memory, beam, longest)

    return jax.jit(search)


def beam_search(
    step: Callable[[jax.Array, Any, Memory], Any], memory: Memory, beam: int, longest: int
) -> jax.Array:
    """Searches the likeliest sequences, all sentences of a batch at once.

    Args:
      step: (symbols [R], states, memory) -> log-probabilities [R,V] of the next, states.
      memory: of B sentences; its states are what they begin with.
      beam: W hypotheses of each.
      longest: symbols of one, at most.

    Returns:
      The best sequence of each sentence [B,longest], the end's number behind it.
    """
    B = memory.h_BSE.shape[0]
    wide = jax.tree.map(lambda a: jnp.repeat(a, beam, 0), memory)
    texts_BWT = jnp.full((B, beam, longest), END_NUMBER)
    # Hypotheses begin alike, so that all but the first are as good as none.
    scores_BW = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)[None].repeat(B, 0)
    symbols_BW = jnp.full((B, beam), BEGIN_NUMBER)
    over_BW = jnp.zeros((B, beam), bool)

    def one(place: jax.Array, carry: Any) -> Any:
        texts_BWT, scores_BW, symbols_BW, over_BW, states = carry
        log_p, states = step(symbols_BW.reshape(-1), states, wide)
        log_p_BWV = log_p.reshape(B, beam, -1)
        V = log_p_BWV.shape[-1]
        # What is over goes on with the end alone, at no cost; unknown words are not written.
        symbols_V = jnp.arange(V)
        stay_V = jnp.where(symbols_V == END_NUMBER, 0.0, -jnp.inf)
        known_BWV = jnp.where(symbols_V[None, None] == 0, -jnp.inf, log_p_BWV)
        next_BWV = jnp.where(over_BW[..., None], stay_V[None, None], known_BWV)
        total_BX = (scores_BW[..., None] + next_BWV).reshape(B, -1)
        scores_BW, best_BW = lax.top_k(total_BX, beam)
        from_BW, symbols_BW = best_BW // V, best_BW % V
        rows_R = (jnp.arange(B)[:, None] * beam + from_BW).reshape(-1)
        states = jax.tree.map(lambda a: a[rows_R], states)
        texts_BWT = jnp.take_along_axis(texts_BWT, from_BW[..., None], 1)
        texts_BWT = texts_BWT.at[:, :, place].set(symbols_BW)
        over_BW = jnp.take_along_axis(over_BW, from_BW, 1) | (symbols_BW == END_NUMBER)
        return texts_BWT, scores_BW, symbols_BW, over_BW, states

    begun = texts_BWT, scores_BW, symbols_BW, over_BW, wide.states
    texts_BWT, scores_BW, *_ = lax.fori_loop(0, longest, one, begun)
    words_BW = (texts_BWT != END_NUMBER).sum(-1)
    penalty_BW = ((5.0 + words_BW) / 6.0) ** LENGTH_PENALTY
    best_B = (scores_BW / penalty_BW).argmax(-1)
    return jnp.take_along_axis(texts_BWT, best_B[:, None, None], 1)[:, 0]
