"""A language model writes on from a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.models.build import build_model
from lstm_lab.tasks import Language
from lstm_lab.tasks.readers.text import END, encode
from lstm_lab.train.state import zero_states
from lstm_lab.utils.errors import UserError

PIECE = 32  # symbols of one compiled call


@dataclass(frozen=True)
class Sampling:
    """How the next symbol is drawn.

    Attributes:
      temperature: divides the logits; 0 takes the likeliest symbol.
      top_k: draw among so many likeliest symbols alone; None among all.
      top_p: draw among the likeliest symbols that hold this share of the probability.
      seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, found, right, allowed in (
            ("temperature", self.temperature, self.temperature >= 0.0, "0 or more"),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "1 or more"),
            ("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "above 0, up to 1"),
        ):
            if not right:
                raise UserError(f"--{name}: found {found}, allowed {allowed}")


def likeliest(logits_V: jax.Array, sampling: Sampling, known: int | None = None) -> jax.Array:
    """Returns the logits over the temperature, minus infinity for symbols that are not drawn.

    Args:
      logits_V: of the next symbol; number 0, the unknown one, is never drawn.
      sampling: how.
      known: symbols that the vocabulary has, where it is smaller than the model's; None is all.
    """
    V = len(logits_V)
    drawn_V = (jnp.arange(V) > 0) & (jnp.arange(V) < (known or V))
    logits_V = jnp.where(drawn_V, logits_V, -jnp.inf) / (sampling.temperature or 1.0)
    kept = 1 if sampling.temperature == 0.0 else sampling.top_k
    descending_V = jnp.sort(logits_V, descending=True)
    if kept is not None:
        logits_V = jnp.where(logits_V >= descending_V[kept - 1], logits_V, -jnp.inf)
        descending_V = jnp.sort(logits_V, descending=True)
    p_V = jax.nn.softmax(descending_V)
    before_V = jnp.cumsum(p_V) - p_V
    least = jnp.where(before_V < sampling.top_p, descending_V, jnp.inf).min()
    return jnp.where(logits_V >= least, logits_V, -jnp.inf)


def generate(
    trained: Trained, prompt: str, length: int, sampling: Sampling = Sampling()
) -> Iterator[str]:
    """Writes on from a prompt.

    Args:
      trained: a run of a language model.
      prompt: what comes before; an empty one stands for the end of a line.
      length: symbols to write.
      sampling: how they are drawn.

    Yields:
      The text, in pieces, without the prompt.

    Raises:
      UserError: for a run that is no language model.
    """
    spec = trained.spec
    if not isinstance(spec.task, Language):
        raise UserError(f"generate: the run is of {spec.task.name}, allowed language")
    vocabulary = tuple(trained.preprocessing["inputs"])
    line_end = END if spec.task.unit == "word" else "\n"
    symbols = list(prompt) if spec.task.unit == "character" else prompt.split()
    read_B1 = encode(symbols or [line_end], vocabulary)[None]
    states = zero_states(spec, trained.params, 1)
    write = _writer(spec, sampling, len(vocabulary))
    logits_V, states = _reader(spec)(trained.params, read_B1, states)
    key = jax.random.key(sampling.seed)
    for begin in range(0, length, PIECE):
        numbers, logits_V, states = write(trained.params, logits_V, states, key, begin)
        for number in np.asarray(numbers)[: length - begin]:
            yield _shown(vocabulary[number], spec.task.unit)


def _shown(symbol: str, unit: str) -> str:
    if unit == "character":
        return symbol
    return "\n" if symbol == END else f"{symbol} "


@lru_cache(maxsize=4)
def _reader(spec: RunSpec) -> Callable[..., Any]:
    """Returns (params, tokens [1,T], states) -> logits [V] after the last, states; from zero."""
    model = build_model(spec)

    def read(params: Any, tokens: jax.Array, states: Any) -> Any:
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

    return jax.jit(read)


@lru_cache(maxsize=4)
def _writer(spec: RunSpec, sampling: Sampling, known: int) -> Callable[..., Any]:
    """Returns (params, logits [V], states, key, begin) -> PIECE symbols, logits, states."""
    model = build_model(spec)

    def write(params: Any, logits_V: Any, states: Any, key: Any, begin: Any) -> Any:
        def one(carry: Any, place: jax.Array) -> Any:
            logits_V, states = carry
            draw = jax.random.fold_in(key, place)
            symbol = jax.random.categorical(draw, likeliest(logits_V, sampling, known))
            logits, states = model.apply(
                {"params": params},
                symbol[None, None],
                None,
                None,
                states,
                method="logits_and_states",
            )
            return (logits[0, 0], states), symbol

        (logits_V, states), symbols = lax.scan(one, (logits_V, states), begin + jnp.arange(PIECE))
        return symbols, logits_V, states

    return jax.jit(write)
