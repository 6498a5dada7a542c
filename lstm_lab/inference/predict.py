"""Predictions of a finished run on new input, given as lines of text or as arrays.

`predict_lines` reads an input as a training file is read; `predict_rolling` forecasts from every
row of it; `predict_stream` treats all lines as parts of one sequence and predicts after each. How
inputs are read and how outputs are presented is up to the task (`Task.read_inputs`, `read_line`,
`describe_prediction`). `predict_arrays` takes model inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, softmax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.recurrent import States
from lstm_lab.models.translation import translate_tokens
from lstm_lab.tasks import (
    Bernoulli,
    Categorical,
    Examples,
    Inputs,
    SourceTokens,
    Target,
    Tokens,
    Vectors,
)
from lstm_lab.tasks.readers.text import UNKNOWN
from lstm_lab.training.outputs import ROWS, outputs
from lstm_lab.training.state import zero_states
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON, PyTree

Prediction = dict[str, JSON]  # JSON-ready, see `Task.describe_prediction`


def predict_lines(trained: Trained, lines: Iterable[str], beam: int = 4) -> Iterator[Prediction]:
    """Predicts for each line or row, or once for a task that reads its input as a whole.

    Args:
      trained: the run.
      lines: the input, with or without the ends of the lines; empty lines are skipped.
      beam: beam width of translations, as in `models.translation.translate_tokens`.

    Yields:
      One prediction per line or row, in the order of the input.

    Raises:
      UserError: for a line that the task cannot read.

    Example:
      >>> trained = load_run(Path("runs/imdb"))
      >>> [prediction["label"] for prediction in predict_lines(trained, ["A fine film."])]
    """
    task = trained.spec.task
    sequences = _naming_unknown(
        trained, task.read_inputs(_without_ends(lines), trained.preprocessing)
    )
    while batch := list(islice(sequences, ROWS)):
        for x, values in zip(batch, _batch_outputs(trained, batch, beam), strict=True):
            yield task.describe_prediction(x, values, trained.preprocessing)


def _naming_unknown(trained: Trained, sequences: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields sequences, and says after the last one how many of their symbols are unknown.

    Only if a sequence has nothing else, or half of all symbols are: rare words are usual.
    """
    named = trained.preprocessing
    vocabulary: Sequence[str] = named.get("sources") or named.get("inputs") or ()
    total = unknown = strange = 0
    for x in sequences:
        # Only vocabularies of texts have a place for what they lack.
        if x.ndim == 1 and list(vocabulary[:1]) == [UNKNOWN]:
            count = int((x == 0).sum())
            total, unknown = total + len(x), unknown + count
            strange += count == len(x)
        yield x
    if strange or 2 * unknown > total:
        lines = f"; {strange} of the inputs have no other" if strange else ""
        say(f"note: {unknown} of {total} words or characters are unknown to the model{lines}")


def _without_ends(lines: Iterable[str]) -> Iterator[str]:
    return (line.removesuffix("\n") for line in lines)


def predict_rolling(trained: Trained, lines: Iterable[str]) -> Iterator[Prediction]:
    """Forecasts from every row of a series that has enough rows before it.

    Args:
      trained: a run of series.
      lines: the series, written as its training file.

    Yields:
      For each such row its number `after`, counted from 1 without the header, and the prediction.

    Raises:
      UserError: for another task, or lines that it cannot read.

    Example:
      >>> [p["forecast"]["load"] for p in predict_rolling(trained, Path("load.csv").open())]
    """
    task = trained.spec.task
    windows = task.read_rolling(_without_ends(lines), trained.preprocessing)
    while batch := list(islice(windows, ROWS)):
        x_NTD = np.stack([x for _, x in batch])
        values = outputs(trained.spec, trained.params, Examples(x_NTD, None))
        for (row, x), forecast in zip(batch, values, strict=True):
            yield {
                "after": row,
                **task.describe_prediction(x, forecast, trained.preprocessing),
            }


def predict_arrays(trained: Trained, x: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Predicts for sequences of model inputs, as the task's data set holds them.

    Args:
      trained: the run.
      x: sequences of any lengths: tokens [T], or vectors [T,D].

    Returns:
      For each sequence, probabilities of classes or of binary targets, or values: [C], or [T,C] at
      every step; target tokens for a translation.

    Raises:
      UserError: for a sequence of another shape, or tokens outside the vocabulary.

    Example:
      predict_arrays(load_run(Path("runs/digits")), x_NTD)[0].argmax(-1)
    """
    answers: list[np.ndarray] = []
    sequences = model_inputs(trained, x)
    for start in range(0, len(sequences), ROWS):
        for values in _batch_outputs(trained, sequences[start : start + ROWS], beam=4):
            answers.append(_probabilities(trained.spec.task.target, values))
    return answers


def model_inputs(trained: Trained, x: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Returns sequences of model inputs in the dtype of the model.

    Args:
      trained, x: as in `predict_arrays`.

    Raises:
      UserError: for a sequence of another shape, or tokens outside the vocabulary.

    Example:
      model_inputs(trained, [np.zeros((5, 2)), np.zeros((9, 2))])
    """
    inputs = trained.spec.task.inputs
    sequences = [np.asarray(sequence) for sequence in x]
    form = "[T]" if isinstance(inputs, Tokens) else f"[T,{inputs.features}]"
    for sequence in sequences:
        shape = list(sequence.shape)
        if sequence.ndim != form.count(",") + 1 or not len(sequence):
            raise UserError(
                f"predict: got a sequence of shape {shape}, expected {form}; the first axis of an "
                "array counts the sequences"
            )
        if isinstance(inputs, Vectors) and shape[1] != inputs.features:
            raise UserError(f"predict: got {shape[1]} features, expected {inputs.features}")
        if isinstance(inputs, Tokens) and not (
            np.issubdtype(sequence.dtype, np.integer)
            and (sequence >= 0).all()
            and (sequence < inputs.vocabulary).all()
        ):
            raise UserError(
                f"predict: got tokens outside the vocabulary, expected whole numbers from 0 to "
                f"{inputs.vocabulary - 1}"
            )
    return [_typed(sequence, inputs) for sequence in sequences]


def padded(batch: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns sequences as one array [N,T,...], padded with zeros, and their lengths [N].

    Args:
      batch: sequences [T,...].

    Example:
      padded([np.array([4, 2, 7]), np.array([5])])[0]  # [[4, 2, 7, 0], [5, 0, 0, 0]]
    """
    lengths = np.array([len(x) for x in batch], np.int32)
    # A power of two: XLA compiles once per shape, so that few shapes matter more than the padding,
    # which at most doubles the steps.
    T = 1 << int(lengths.max() - 1).bit_length()
    rows = np.zeros((len(batch), T, *batch[0].shape[1:]), batch[0].dtype)
    for row, x in zip(rows, batch, strict=True):
        row[: len(x)] = x
    return rows, lengths


def _typed(sequence: np.ndarray, inputs: Inputs) -> np.ndarray:
    return sequence.astype(np.int32 if isinstance(inputs, Tokens) else np.float32)


def _probabilities(target: Target, values: np.ndarray) -> np.ndarray:
    # A translation is already a sequence of tokens.
    if not np.issubdtype(values.dtype, np.floating):
        return values
    match target:
        case Categorical():
            return np.asarray(softmax(values, -1))
        case Bernoulli():
            return np.asarray(expit(values))
        case _:
            return values


def _batch_outputs(trained: Trained, batch: list[np.ndarray], beam: int) -> Iterator[np.ndarray]:
    """Yields the outputs for each sequence: target tokens, logits or values, without padding."""
    spec = trained.spec
    x, lengths = padded(batch)
    if spec.task.source_vocabulary is not None:
        yield from translate_tokens(spec, trained.params, SourceTokens(x, lengths), beam)
        return
    logits = outputs(spec, trained.params, Examples(x, None, lengths))
    for row, length in zip(logits, lengths, strict=True):
        yield row[:length] if spec.task.target.every_step else row


def predict_stream(trained: Trained, lines: Iterable[str]) -> Iterator[Prediction]:
    """Predicts after each line; the model's state is carried from line to line.

    Args:
      trained: the run.
      lines: parts of one sequence, of one or more steps each; empty lines are skipped.

    Yields:
      For each line the prediction at its last step.

    Raises:
      UserError: for a model that needs the end of a sequence before it can predict.
    """
    spec = trained.spec
    if spec.task.source_vocabulary is not None:
        raise UserError("--stream: a translation starts after the end of its source")
    if spec.model.bidirectional:
        raise UserError("--stream: a bidirectional model needs the end of the sequence")
    if spec.model.subtract_last:
        raise UserError("--stream: model.subtract_last needs the last value of the sequence")
    states, is_start = zero_states(spec, trained.params, 1), True
    for line in _without_ends(lines):
        if not line.strip():
            continue
        x = spec.task.read_line(line, trained.preprocessing)
        logits, states = compiled_step(spec)(trained.params, x[None], states, jnp.asarray(is_start))
        is_start = False
        values = np.asarray(logits[0])
        last = values[-1] if spec.task.target.every_step else values
        yield spec.task.describe_prediction(x, last, trained.preprocessing)


@lru_cache(maxsize=4)
def compiled_step(spec: RunSpec) -> Callable[..., tuple[jax.Array, States]]:
    """Returns the steps of a stream: (params, x [1,T,...], states, is_start) -> (logits, states).

    Args:
      spec: the spec of a run.

    Example:
      compiled_step(spec)(params, np.array([[1]]), zero_states(spec, params, 1), jnp.asarray(True))
    """
    model = build_model(spec)

    def step(params: PyTree, x: jax.Array, states: States, is_start: jax.Array) -> PyTree:
        return model.apply(
            {"params": params}, x, None, None, states, is_start, method="logits_and_states"
        )

    return jit_with_precision(spec, step)
