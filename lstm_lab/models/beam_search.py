"""Beam search over any model that scores the next symbol. It knows no Flax module and no task.

`translation.py` gives it the decoder of an `EncoderDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.utils.types import PyTree

# Sequences [B,W,T]; scores, last symbols and whether it has ended [B,W]; states of the model.
Hypotheses = tuple[jax.Array, jax.Array, jax.Array, jax.Array, PyTree]
UNKNOWN = 0  # the number of the unknown symbol in every vocabulary
LENGTH_PENALTY = 0.6  # alpha; 0 would compare plain log-probabilities


def beam_search(
    step: Callable[[jax.Array, PyTree], tuple[jax.Array, PyTree]],
    states: PyTree,
    *,
    beam: int,
    max_length: int,
    begin: int,
    end: int,
) -> jax.Array:
    """Searches for the most probable sequences, for all rows of a batch at once.

    A hypothesis of n symbols (without the end symbol) has the score

        log P(y) / ((5 + n) / 6)^alpha,    alpha = LENGTH_PENALTY

    Without the division, longer sequences lose because each symbol lowers their probability.

    Args:
      step: (previous symbols [R], states) -> (log-probabilities [R,V] of the next symbol, states),
        for R = B * beam hypotheses; those of a row of the batch are neighbors.
      states: initial states of all hypotheses, arrays with a leading axis R.
      beam: W, number of hypotheses per row.
      max_length: maximum number of symbols of a sequence.
      begin: number of the symbol before the first one.
      end: number of the symbol that ends a sequence.

    Returns:
      The best sequence of each row [B,max_length], filled up with `end`.

    Source: Wu et al. 2016, Google's neural machine translation system, section 7.
    """
    B = jax.tree.leaves(states)[0].shape[0] // beam
    sequences_BWT = jnp.full((B, beam, max_length), end)
    # All hypotheses start equal. Only the first one counts, or the beam would hold W copies of it.
    scores_BW = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)[None].repeat(B, 0)
    symbols_BW = jnp.full((B, beam), begin)
    ended_BW = jnp.zeros((B, beam), bool)

    def extend(position: jax.Array, carry: Hypotheses) -> Hypotheses:
        sequences_BWT, scores_BW, symbols_BW, ended_BW, states = carry
        log_p, states = step(symbols_BW.reshape(-1), states)
        log_p_BWV = log_p.reshape(B, beam, -1)
        V = log_p_BWV.shape[-1]
        # An ended hypothesis gets only further end symbols, at no cost. The unknown symbol is never
        # produced.
        symbols_V = jnp.arange(V)
        only_end_V = jnp.where(symbols_V == end, 0.0, -jnp.inf)
        known_BWV = jnp.where(symbols_V[None, None] == UNKNOWN, -jnp.inf, log_p_BWV)
        next_BWV = jnp.where(ended_BW[..., None], only_end_V[None, None], known_BWV)
        # The W best of all W * V extensions of a row; their index holds hypothesis and symbol.
        extended_BX = (scores_BW[..., None] + next_BWV).reshape(B, -1)
        scores_BW, best_BW = lax.top_k(extended_BX, beam)
        parent_BW, symbols_BW = best_BW // V, best_BW % V
        parent_R = (jnp.arange(B)[:, None] * beam + parent_BW).reshape(-1)
        states = jax.tree.map(lambda a: a[parent_R], states)
        sequences_BWT = jnp.take_along_axis(sequences_BWT, parent_BW[..., None], 1)
        sequences_BWT = sequences_BWT.at[:, :, position].set(symbols_BW)
        ended_BW = jnp.take_along_axis(ended_BW, parent_BW, 1) | (symbols_BW == end)
        return sequences_BWT, scores_BW, symbols_BW, ended_BW, states

    initial = sequences_BWT, scores_BW, symbols_BW, ended_BW, states
    sequences_BWT, scores_BW, *_ = lax.fori_loop(0, max_length, extend, initial)
    length_BW = (sequences_BWT != end).sum(-1)
    penalty_BW = ((5.0 + length_BW) / 6.0) ** LENGTH_PENALTY
    best_B = (scores_BW / penalty_BW).argmax(-1)
    return jnp.take_along_axis(sequences_BWT, best_B[:, None, None], 1)[:, 0]
