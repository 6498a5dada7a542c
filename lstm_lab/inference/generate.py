"""Generates text from a prompt with a language model.

The prompt is read in one call; symbols are then drawn one by one, in compiled chunks of `CHUNK`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.recurrent import States
from lstm_lab.tasks import Language
from lstm_lab.tasks.readers.text import END, encode
from lstm_lab.training.state import zero_states
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import PyTree

CHUNK = 32  # symbols per compiled call: few enough to stream, enough to hide the call's overhead


@dataclass(frozen=True)
class Sampling:
    """Options for drawing the next symbol, or the notes of the next frame.

    Attributes:
      temperature: divisor of the logits; 0 always takes what is most probable.
      top_k: number of most probable symbols to draw from; None means all.
      top_p: draw from the smallest set of most probable symbols whose total probability reaches
        this value (nucleus sampling, Holtzman et al. 2020).
      seed: random seed.

    Example:
      Sampling(temperature=0.7, top_k=20, seed=3).greedy  # False
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, valid, expected in (
            # NaN is in no range.
            (
                *("temperature", self.temperature, 0.0 <= self.temperature < math.inf),
                "a finite number of 0 or more",
            ),
            ("top-k", self.top_k, self.top_k is None or self.top_k >= 1, "a number of 1 or more"),
            ("top-p", self.top_p, 0.0 < self.top_p <= 1.0, "a number above 0 and at most 1"),
        ):
            if not valid:
                raise UserError(f"--{name}: got {value}, expected {expected}")

    @property
    def greedy(self) -> bool:
        """Whether the most probable symbol is taken."""
        # XLA takes smaller numbers for 0, by which nothing can be divided.
        return self.temperature < float(np.finfo(np.float32).tiny)


def filter_logits(
    logits_V: jax.Array, sampling: Sampling, vocabulary_size: int | None = None
) -> jax.Array:
    """Divides logits by the temperature and excludes symbols that must not be drawn.

    Args:
      logits_V: logits of the next symbol. Symbol 0, the unknown one, is always excluded.
      sampling: temperature, top_k and top_p.
      vocabulary_size: number of symbols that the data have, if the model has more outputs.

    Returns:
      Logits [V] relative to the best one, minus infinity for excluded symbols.
    """
    V = len(logits_V)
    allowed_V = (jnp.arange(V) > 0) & (jnp.arange(V) < (vocabulary_size or V))
    # The best symbol gets 0, so that a low temperature gives no infinity. Excluded ones get theirs
    # at the end: infinity divided by a temperature that float32 does not hold is NaN.
    best = jnp.where(allowed_V, logits_V, -jnp.inf).max()
    logits_V = (logits_V - best) / (1.0 if sampling.greedy else sampling.temperature)
    logits_V = jnp.where(allowed_V, logits_V, -jnp.inf)
    k = 1 if sampling.greedy else sampling.top_k
    descending_V = jnp.sort(logits_V, descending=True)
    if k is not None:
        logits_V = jnp.where(logits_V >= descending_V[k - 1], logits_V, -jnp.inf)
        descending_V = jnp.sort(logits_V, descending=True)
    p_V = jax.nn.softmax(descending_V)
    # A symbol is in the nucleus if the more probable ones do not reach top_p without it.
    p_before_V = jnp.cumsum(p_V) - p_V
    threshold = jnp.where(p_before_V < sampling.top_p, descending_V, jnp.inf).min()
    return jnp.where(logits_V >= threshold, logits_V, -jnp.inf)


def generate(
    trained: Trained, prompt: str, length: int, sampling: Sampling = Sampling()
) -> Iterator[str]:
    """Generates a continuation of a prompt.

    Args:
      trained: a run of a language model.
      prompt: the text before; an empty prompt means the start of a line.
      length: number of symbols to generate.
      sampling: how symbols are drawn.

    Yields:
      The generated text, symbol by symbol, without the prompt; the first piece of a word model is
      the space after it.

    Raises:
      UserError: for a run of another task.

    Example:
      >>> "".join(generate(load_run(Path("runs/shakespeare")), "ROMEO:", 200))
    """
    spec = trained.spec
    if not isinstance(spec.task, Language):
        raise UserError(f"generate: got a run of {spec.task.name}, expected a run of language")
    vocabulary = trained.preprocessing["inputs"]
    line_end = END if spec.task.unit == "word" else "\n"
    symbols = list(prompt) if spec.task.unit == "character" else prompt.split()
    prompt_1T = encode(symbols or [line_end], vocabulary)[None]
    states = zero_states(spec, trained.params, 1)
    draw = _compiled_draw(spec, sampling, len(vocabulary))
    logits_V, states = _compiled_read(spec)(trained.params, prompt_1T, states)
    key = jax.random.key(sampling.seed)
    if spec.task.unit == "word" and prompt and not prompt[-1].isspace():
        # Printed after the prompt, the first word would become a part of its last word.
        yield " "
    for start in range(0, length, CHUNK):
        numbers, logits_V, states = draw(trained.params, logits_V, states, key, start)
        for number in np.asarray(numbers)[: length - start]:
            yield _as_text(vocabulary[number], spec.task.unit)


def _as_text(symbol: str, unit: str) -> str:
    """Returns a symbol as it appears in text: words are followed by a space."""
    if unit == "character":
        return symbol
    return "\n" if symbol == END else f"{symbol} "


@lru_cache(maxsize=4)
def _compiled_read(spec: RunSpec) -> Callable[..., tuple[jax.Array, States]]:
    """Returns (params, tokens [1,T], states) -> (logits [V] after the last token, states)."""
    model = build_model(spec)

    def read(params: PyTree, tokens: jax.Array, states: PyTree) -> tuple[jax.Array, States]:
        logits, states = model.apply(
            {"params": params},
            tokens,
            None,
            None,
            states,
            jnp.asarray(True),
            method="logits_and_states",
        )
        return logits[0, -1], states

    return jit_with_precision(spec, read)


@lru_cache(maxsize=4)
def _compiled_draw(
    spec: RunSpec, sampling: Sampling, vocabulary_size: int
) -> Callable[..., tuple[jax.Array, jax.Array, States]]:
    """Returns (params, logits [V], states, key, start) -> (CHUNK symbols, logits, states)."""
    model = build_model(spec)

    def draw(
        params: PyTree, logits_V: jax.Array, states: States, key: jax.Array, start: jax.Array
    ) -> tuple[jax.Array, jax.Array, States]:
        def draw_one(
            carry: tuple[jax.Array, PyTree], position: jax.Array
        ) -> tuple[tuple[jax.Array, PyTree], jax.Array]:
            logits_V, states = carry
            # The key depends on the position in the text alone, so that a longer text with the same
            # seed starts with the shorter one.
            symbol = jax.random.categorical(
                jax.random.fold_in(key, position),
                filter_logits(logits_V, sampling, vocabulary_size),
            )
            logits, states = model.apply(
                {"params": params},
                symbol[None, None],
                None,
                None,
                states,
                method="logits_and_states",
            )
            return (logits[0, 0], states), symbol

        positions = start + jnp.arange(CHUNK)
        (logits_V, states), symbols = lax.scan(draw_one, (logits_V, states), positions)
        return symbols, logits_V, states

    return jit_with_precision(spec, draw)
