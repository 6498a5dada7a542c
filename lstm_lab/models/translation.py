"""Translates batches of token sequences with an `EncoderDecoder` and beam search.

Tokens in, tokens out: `inference/translate.py` does the same for text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.masks import Rates
from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.beam_search import beam_search
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.encoder_decoder import EncoderDecoder
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import SourceTokens
from lstm_lab.tasks.datasets.translation import BEGIN_NUMBER, END_NUMBER
from lstm_lab.utils.types import PyTree

BATCH_SIZE = 64  # sentences per compiled call


def translate_tokens(
    spec: RunSpec, params: PyTree, source: SourceTokens, beam: int = 4
) -> np.ndarray:
    """Translates source sentences by beam search.

    Args:
      spec: the run.
      params: parameters of the model.
      source: source tokens [N,S] and their lengths [N], host arrays.
      beam: number of hypotheses per sentence; 1 is greedy search.

    Returns:
      Target tokens [N,T] with T = 2 S + 10, filled up with the number of the end symbol.
    """
    N, S = source.tokens.shape
    # A translation may be twice as long as its source; the constant is for very short sources.
    search, rates = _compiled_search(program_spec(spec), beam, 2 * S + 10), rates_of(spec.model)
    batches = []
    for start in range(0, N, BATCH_SIZE):
        # The last batch repeats the last sentence, so that all calls have the same shape.
        rows = np.minimum(np.arange(start, start + min(BATCH_SIZE, N)), N - 1)
        batches.append(np.asarray(search(params, source.tokens[rows], source.lengths[rows], rates)))
    return np.concatenate(batches)[:N]


@lru_cache(maxsize=8)
def _compiled_search(spec: RunSpec, beam: int, max_length: int) -> Callable[..., jax.Array]:
    """Returns (params, source tokens [B,S], lengths [B], rates) -> target tokens [B,max_length]."""
    model = build_model(spec)
    assert isinstance(model, EncoderDecoder)

    # The rates are an argument, because runs with other rates share the function.
    def search(
        params: PyTree, tokens_BS: jax.Array, lengths_B: jax.Array, rates: Rates
    ) -> jax.Array:
        variables, evaluation = {"params": params}, Regularization(rates)
        memory: PyTree = model.apply(variables, tokens_BS, lengths_B, evaluation, method="encode")
        memory_R = jax.tree.map(lambda a: jnp.repeat(a, beam, 0), memory)

        def step(symbols_R: jax.Array, states: PyTree) -> tuple[jax.Array, PyTree]:
            decoded: PyTree = model.apply(
                variables, symbols_R[:, None], states, memory_R, None, evaluation, method="decode"
            )
            logits, states = decoded
            return jax.nn.log_softmax(logits[:, 0]), states

        return beam_search(
            step,
            memory_R.states,
            beam=beam,
            max_length=max_length,
            begin=BEGIN_NUMBER,
            end=END_NUMBER,
        )

    return jit_with_precision(spec, search)
