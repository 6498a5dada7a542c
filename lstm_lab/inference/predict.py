"""A finished run: its weights, and what it says of new input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, softmax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.models.beam_search import translate
from lstm_lab.models.build import build_model
from lstm_lab.tasks import (
    Bernoulli,
    Categorical,
    Examples,
    Series,
    SourceTokens,
    Tokens,
    Translation,
)
from lstm_lab.train.outputs import ROWS, outputs
from lstm_lab.train.state import zero_states
from lstm_lab.utils.errors import UserError

Answer = dict[str, Any]


def read_line(trained: Trained, line: str) -> np.ndarray:
    """Returns what the model reads of a line: symbols [T], or vectors [T,D].

    Raises:
      UserError: for a line that the task cannot read.
    """
    read = getattr(trained.spec.task, "read", None)
    if read is not None:
        return read(line, trained.preprocessing)
    inputs = trained.spec.task.inputs
    try:
        numbers = np.array([float(part) for part in line.replace(",", " ").split()], np.float32)
    except ValueError as error:
        raise UserError(f"input: {error}; allowed numbers") from None
    if isinstance(inputs, Tokens):
        symbols = numbers.astype(np.int32)
        if (symbols != numbers).any() or not ((symbols >= 0) & (symbols < inputs.vocabulary)).all():
            raise UserError(f"input: found {line.strip()!r}, allowed 0 to {inputs.vocabulary - 1}")
        return symbols
    if not len(numbers) or len(numbers) % inputs.features:
        raise UserError(f"input: found {len(numbers)} numbers, allowed {inputs.features} a step")
    return numbers.reshape(-1, inputs.features)


def answer_lines(trained: Trained, lines: Iterable[str], beam: int = 4) -> Iterator[Answer]:
    """Answers each line, as a sequence of its own; a series' CSV is one, to be gone on with.

    Args:
      trained: the run.
      lines: the input; empty ones are left out.
      beam: of translations, as in `decode.translate`.

    Yields:
      For each line what `answer` says; of a series its `forecast` by column; of a translation its
      `text`.
    """
    task = trained.spec.task
    if isinstance(task, Series):
        x_TD = task.read_all(lines, trained.preprocessing)
        (values,) = outputs(trained.spec, trained.params, Examples(x_TD[None], None))
        yield {"forecast": task.forecast(x_TD, values, trained.preprocessing)}
        return
    rows = (read_line(trained, line) for line in lines if line.strip())
    while batch := list(islice(rows, ROWS)):
        lengths = np.array([len(row) for row in batch], np.int32)
        # A power of two, so that few shapes are compiled.
        T = 1 << int(lengths.max() - 1).bit_length()
        x = np.zeros((len(batch), T, *batch[0].shape[1:]), batch[0].dtype)
        for place, row in zip(x, batch, strict=True):
            place[: len(row)] = row
        if isinstance(task, Translation):
            for numbers in translate(trained.spec, trained.params, SourceTokens(x, lengths), beam):
                yield {"text": task.text(numbers, trained.preprocessing)}
            continue
        found = outputs(trained.spec, trained.params, Examples(x, None, lengths))
        for logits, length in zip(found, lengths, strict=True):
            yield answer(trained, logits[:length] if task.target.every_step else logits)


def answer_stream(trained: Trained, lines: Iterable[str]) -> Iterator[Answer]:
    """Answers after each line, as one sequence that goes on: the state is kept.

    Args:
      trained: the run.
      lines: pieces of the sequence, of a step or more.

    Yields:
      For each line what `answer` says, of its last step.

    Raises:
      UserError: for a model that reads sequences backwards, too.
    """
    spec = trained.spec
    if isinstance(spec.task, Translation):
        raise UserError("--stream: a translation begins when its source has ended")
    if spec.model.bidirectional:
        raise UserError("--stream: a bidirectional model has to know a sequence's end")
    if spec.model.subtract_last:
        raise UserError("--stream: a model that centres has to know a sequence's last value")
    states, is_start = zero_states(spec, trained.params, 1), True
    for line in lines:
        if line.strip():
            x = read_line(trained, line)[None]
            logits, states = _stepper(spec)(trained.params, x, states, jnp.asarray(is_start))
            is_start = False
            last = np.asarray(logits[0])
            yield answer(trained, last[-1] if spec.task.target.every_step else last)


@lru_cache(maxsize=4)
def _stepper(spec: RunSpec) -> Callable[..., Any]:
    model = build_model(spec)

    def step(params: Any, x: jax.Array, states: Any, is_start: jax.Array) -> Any:
        return model.apply(
            {"params": params}, x, None, None, states, is_start, method="logits_and_states"
        )

    return jax.jit(step)


def answer(trained: Trained, logits: np.ndarray) -> Answer:
    """Returns what logits [C], or [T,C] of each step, say.

    Returns:
      Of classes the likeliest `label` and all `probabilities`, or each step's `labels`; of
      independent bits their `probabilities`; of numbers the `values`.
    """
    target = trained.spec.task.target
    match target:
        case Categorical():
            names = trained.preprocessing.get("outputs") or [str(k) for k in range(target.size)]
            if logits.ndim == 2:
                return {"labels": [names[k] for k in logits.argmax(-1)]}
            p_C = softmax(logits).tolist()
            return {
                "label": names[int(logits.argmax())],
                "probabilities": dict(zip(names, p_C, strict=True)),
            }
        case Bernoulli():
            return {"probabilities": expit(logits).tolist()}
        case _:
            return {"values": logits.tolist()}
