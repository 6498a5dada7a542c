"""What a task gives: what goes in, what comes out, examples, and batches as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import numpy as np
from scipy.special import expit, softmax

from lstm_lab.utils.errors import UserError

Measure = Literal["accuracy", "perplexity", "bits", "macro_f1", "span_f1"]
Array = Any  # numpy on the host, jax on the device


@dataclass(frozen=True)
class Tokens:
    """Inputs are symbols [B,T] of a vocabulary."""

    vocabulary: int


@dataclass(frozen=True)
class Vectors:
    """Inputs are vectors [B,T,D]."""

    features: int


@dataclass(frozen=True)
class Categorical:
    """Targets are one of `size` classes: [B], or [B,T] at every step.

    Attributes:
      size: how many classes.
      every_step: whether each step has one.
      metrics: the metrics in addition to the negative log-likelihood.
      labels: the classes' names, where a metric reads them.
      weighted: whether examples weigh differently in the loss, by `Examples.weights`.
    """

    size: int
    every_step: bool = False
    metrics: tuple[Measure, ...] = ("accuracy",)
    labels: tuple[str, ...] = ()
    weighted: bool = False


@dataclass(frozen=True)
class Bernoulli:
    """Targets are `size` independent binary numbers: [B,C], or [B,T,C] at every step."""

    size: int
    every_step: bool = False


@dataclass(frozen=True)
class Real:
    """Targets are `size` real numbers: [B,C], or [B,T,C] at every step."""

    size: int
    every_step: bool = False


Inputs = Tokens | Vectors
Target = Categorical | Bernoulli | Real


class SourceTokens(NamedTuple):
    """What an encoder reads before a sequence is predicted.

    Attributes:
      tokens: [N,S].
      lengths: real steps of each [N].
    """

    tokens: Array
    lengths: Array


class Examples(NamedTuple):
    """Sequences with their targets, with a leading example axis.

    Attributes:
      x: inputs, tokens [N,T] or vectors [N,T,D].
      y: targets, as the task's `target` says.
      lengths: real steps of each sequence [N], or None where all have T.
      weights: of each sequence in the loss [N], or None where all weigh the same.
      source: what is read before, or None.
    """

    x: Array
    y: Array
    lengths: Array | None = None
    weights: Array | None = None
    source: SourceTokens | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stream:
    """One long sequence of symbols, each to be predicted from all before it.

    It is cut into equally long tracks, which a batch reads side by side, a row each, a chunk of
    time after the other; the model's state is carried from chunk to chunk. Symbols left over at
    the end are not read.

    Attributes:
      tokens: [N], int32.
      T: time steps of a chunk.
      tracks: how many of an evaluation; training has as many as the batch has rows.
      std: standard deviation of a training chunk's steps, about T; 0 where all are as long.
    """

    tokens: Array
    T: int = field(metadata={"static": True})
    tracks: int = field(default=1, metadata={"static": True})
    std: float = field(default=0.0, metadata={"static": True})

    @property
    def shift(self) -> int:
        """The most steps by which a cut between training chunks is off its place."""
        return round(1.5 * self.std)

    def track_steps(self, tracks: int) -> int:
        """Returns the time steps that each of so many tracks predicts."""
        return (self.tokens.shape[0] - 1) // tracks


Split = Examples | Stream


@dataclass(frozen=True)
class Dataset:
    """A task's data.

    Attributes:
      splits: train (absent where generated), valid and test.
      preprocessing: what the task computed from the training data and a finished run needs: the
        symbols that numbers stand for, as `inputs` and `outputs`, means and scales. JSON-ready.
    """

    splits: dict[str, Split]
    preprocessing: dict[str, Any] = field(default_factory=dict)


class Task:
    """What a model learns: its inputs, its target, and where the examples come from.

    A task is a frozen dataclass of its options that inherits from this class. What it leaves out
    has the default below.

    Attributes:
      name: how configs name the task.
      inputs: what the model reads.
      target: what the model predicts.
      metric: the metric that chooses checkpoints and ranks runs.
      files: names of the options that hold paths.
      sha256: hash of the user's own files, or None.
      reads_whole_input: whether all lines of an input together are one sequence, as in a CSV file.
      is_stream: whether the splits are streams, through which the model's state is carried.
      source_vocabulary: symbols of the sequence that an encoder reads first; None without encoder.
      final_metric_names: metrics that need the outputs of a whole split, see `final_metrics`.
      sample: a key -> one example, for a task that generates its training data; else None.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    is_stream: ClassVar[bool] = False
    final_metric_names: ClassVar[tuple[str, ...]] = ()
    reads_whole_input: ClassVar[bool] = False
    sha256: str | None = None
    source_vocabulary: int | None = None
    sample: Callable[[jax.Array], Examples] | None = None

    @property
    def metric(self) -> str:
        """The metric that chooses checkpoints and ranks runs."""
        raise NotImplementedError

    @property
    def inputs(self) -> Inputs:
        """What the model reads."""
        raise NotImplementedError

    @property
    def target(self) -> Target:
        """What the model predicts."""
        raise NotImplementedError

    def load(self, data_dir: Path) -> Dataset:
        """Reads or generates the examples of all splits."""
        raise NotImplementedError

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns outputs on the test split of baselines without a model, by name."""
        del dataset
        return {}

    def final_metrics(
        self, outputs: np.ndarray, test: Examples, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the test metrics that no sum over batches can give; see `final_metric_names`."""
        del outputs, test, preprocessing
        return {}

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts one line of new input to symbols [T] or vectors [T,D].

        The default reads numbers separated by commas or white space.

        Args:
          line: the line.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if the line does not hold such an input.
        """
        del preprocessing
        try:
            parts = line.replace(",", " ").split()
            numbers = np.array([float(part) for part in parts], np.float32)
        except ValueError:
            raise UserError(f"input: got {line.strip()!r}, expected numbers") from None
        if isinstance(self.inputs, Tokens):
            symbols, V = numbers.astype(np.int32), self.inputs.vocabulary
            if (symbols != numbers).any() or not ((symbols >= 0) & (symbols < V)).all():
                raise UserError(
                    f"input: got {line.strip()!r}, expected whole numbers from 0 to {V - 1}"
                )
            return symbols
        D = self.inputs.features
        if not len(numbers) or len(numbers) % D:
            raise UserError(f"input: got {len(numbers)} numbers, expected {D} per step")
        return numbers.reshape(-1, D)

    def read_lines(self, lines: Iterable[str], preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a whole input to one sequence [T,D], if `reads_whole_input`."""
        raise NotImplementedError

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Converts the model's outputs for one sequence to JSON-ready values.

        Args:
          x: the inputs, as `read_line` returns them.
          outputs: logits or values [C], or [T,C] at every step.
          preprocessing: as in `Dataset`.

        Returns:
          For classes the most probable `label` and all `probabilities`, or the `labels` of all
          steps; for binary targets the `probabilities`; for real targets the `values`.
        """
        del x
        match self.target:
            case Categorical(size=size):
                names = preprocessing.get("outputs") or [str(k) for k in range(size)]
                if outputs.ndim == 2:
                    return {"labels": [names[k] for k in outputs.argmax(-1)]}
                p_C = softmax(outputs).tolist()
                return {
                    "label": names[int(outputs.argmax())],
                    "probabilities": dict(zip(names, p_C, strict=True)),
                }
            case Bernoulli():
                return {"probabilities": expit(outputs).tolist()}
            case _:
                return {"values": outputs.tolist()}
