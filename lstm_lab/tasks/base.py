"""What a task is: its inputs, its target, and its examples.

In: the options of a task and a folder with its files. Out: a `Dataset`, whose splits are those of
examples.py. The tasks themselves are in `datasets/`. Read batches.py next: from a split to the
batch of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from lstm_lab.tasks.examples import Examples, Split, Stored
from lstm_lab.tasks.tag_schemes import Scheme
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.errors import UserError

# Whether larger or smaller values are better.
Direction = Literal["max", "min"]
Measure = Literal[
    "accuracy",
    "last_accuracy",
    "sequence_accuracy",
    "perplexity",
    "bits",
    "macro_f1",
    "span_f1",
]


@dataclass(frozen=True)
class Tokens:
    """Inputs are symbols [B,T], int32, from 0 to `vocabulary` - 1.

    Example:
      TemporalOrder(distractors=4).inputs  # Tokens(vocabulary=6)
    """

    vocabulary: int


@dataclass(frozen=True)
class Vectors:
    """Inputs are vectors [B,T,D], float32, of D = `features` numbers.

    Example:
      Adding().inputs  # Vectors(features=2): a number and a marker
    """

    features: int


@dataclass(frozen=True)
class Categorical:
    """Each target is one of `size` classes: [B], or [B,T] at every step, int32.

    Attributes:
      size: number of classes.
      every_step: whether each step has a target, or only the whole sequence.
      metrics: the metrics in addition to the negative log-likelihood.
      labels: names of the classes, for metrics that read them, such as the F1 of spans.
      scheme: how labels mark spans, for their F1; None means as their prefixes usually do.
      weighted: whether the loss multiplies each example by its `Examples.weights`.
      may_ignore: whether a step may have no target: its class is then IGNORE_INDEX, and it counts
        in no loss and no metric. False says that all steps have one, which is not checked.

    Example:
      target = Categorical(3, metrics=("accuracy", "macro_f1"))
      metric_names(target)  # ("nll", "accuracy", "macro_f1")
    """

    size: int
    every_step: bool = False
    metrics: tuple[Measure, ...] = ("accuracy",)
    labels: tuple[str, ...] = ()
    scheme: Scheme | None = None
    weighted: bool = False
    may_ignore: bool = True


@dataclass(frozen=True)
class Bernoulli:
    """Each target is `size` independent binary numbers: [B,C], or [B,T,C] at every step.

    Example:
      Parity().target  # Bernoulli(size=1, every_step=True)
      metric_names(Bernoulli(88))  # ("nll",)
    """

    size: int
    every_step: bool = False


@dataclass(frozen=True)
class Real:
    """Each target is `size` real numbers: [B,C], or [B,T,C] at every step, float32.

    Example:
      metric_names(Real(2))  # ("mse", "mae")
    """

    size: int
    every_step: bool = False


Inputs = Tokens | Vectors
Target = Categorical | Bernoulli | Real


@dataclass(frozen=True)
class Dataset:
    """The data of a task.

    Attributes:
      splits: train, valid and test; there is no train if the task generates its training data.
      preprocessing: what predictions and final metrics need besides the weights: names of input and
        output symbols (`inputs`, `outputs`), means and scales of the training data, references of a
        translation. It must be valid JSON, because it is stored in preprocessing.json.
      source: what the user's files hold, for people (source.py): the columns that are read
        (`reads`), predicted (`predicts`), and not used, with the reason (`left_out`); the number of
        rows (`rows_read`); and `notes`, such as the share of unknown words. A text without columns
        has only notes. Empty for other data.

    Example:
      dataset = Adding(valid_size=200).load(Path("data"))
      dataset.splits["valid"].x.shape  # (200, 100, 2)
      "train" in dataset.splits  # False: the task generates its training data
    """

    splits: dict[str, Split]
    preprocessing: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def training_splits(self) -> dict[str, Split]:
        """The splits that training reads: all but the test split."""
        return {name: split for name, split in self.splits.items() if name != "test"}


class Task:
    """The base class of tasks: inputs, target, and the source of the examples.

    A task is a frozen dataclass that inherits from this class; its fields are its options. The
    attributes and methods below are the defaults.

    Attributes:
      name: the name of the task in configs.
      inputs: what the model reads.
      target: what the model predicts.
      metric: the metric that chooses checkpoints and ranks runs, unless `train.metric` is set.
      files: names of the options that hold paths.
      sha256: hash of the user's own files, or None.
      reads_whole_input: whether all lines of an input are one sequence, as in forecasting.
      is_stream: whether the splits are streams, along which the state of the model is carried.
      source_vocabulary: vocabulary size of the sequence that an encoder reads; None without one.
      final_metric_directions: metrics that need the outputs of a whole split, see `final_metrics`;
        for each whether larger ("max") or smaller ("min") values are better.
      curve_names: curves of the test split, see `final_curves`.
      sample: key -> one example, for a task that generates its training data; else None.

    Example:
      task: Task = Digits(pixels_per_step=8)
      task.metric  # "accuracy"
      task.read_line("0 " * 64, {}).shape  # (8, 8)
    """

    # This class is no dataclass. If it were, its attributes without ClassVar would become options
    # of every task.
    name: ClassVar[str]
    # With `sha256`, the id of a run leaves out these paths: the same files in another folder give
    # the same id.
    files: ClassVar[tuple[str, ...]] = ()
    is_stream: ClassVar[bool] = False
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {}
    curve_names: ClassVar[tuple[str, ...]] = ()
    reads_whole_input: ClassVar[bool] = False
    sha256: str | None = None
    source_vocabulary: int | None = None
    sample: Callable[[jax.Array], Examples] | None = None

    @property
    def metric(self) -> str:
        """The metric that chooses checkpoints and ranks runs, unless `train.metric` is set."""
        raise NotImplementedError

    @property
    def inputs(self) -> Inputs:
        """What the model reads."""
        raise NotImplementedError

    @property
    def target(self) -> Target:
        """What the model predicts."""
        raise NotImplementedError

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Returns the options, with those added that the task's files determine, such as labels.

        Args:
          options: the options of the config and the command line. A run.json has all of them, so
            nothing is read again. An option that is None counts as absent.
          data_dir: the folder of data files.
        """
        del data_dir
        return dict(options)

    def load(self, data_dir: Path) -> Dataset:
        """Reads or generates the examples of all splits.

        Args:
          data_dir: the folder of data files; missing files may be downloaded into it.

        Returns:
          Host arrays. They depend only on the options and the files, so that all runs of a study
          see the same examples.

        Raises:
          UserError: if a file is missing, changed or malformed.
        """
        raise NotImplementedError

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns the outputs of the task's own trivial baselines on the test split.

        Args:
          dataset: the data, as `load` returns them.

        Returns:
          For each baseline, logits or values [N,C]; see trivial.py.
        """
        del dataset
        return {}

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the test metrics that need all outputs at once, such as the AUC.

        They are computed once, on the host, for the best weights.

        Args:
          outputs: logits or values of the test split [N,...]; target tokens of a translation.
          test: the test split.
          preprocessing: as in `Dataset`.
        """
        del outputs, test, preprocessing
        return {}

    def final_curves(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, Curve]:
        """Returns curves of the test split, such as the accuracy over the length of a sequence.

        They are computed once, on the host, for the best weights, and stored in result.json.

        Args:
          outputs, test, preprocessing: as in `final_metrics`.

        Returns:
          The curves by the names in `curve_names`.
        """
        del outputs, test, preprocessing
        return {}

    def known_signals(self, examples: Examples) -> dict[str, np.ndarray]:
        """Returns what a model may have to keep track of, with which `explain` compares its units.

        Inputs, targets, their sums and the position need not be among them: every task has these.

        Args:
          examples: examples of the task, host arrays.

        Returns:
          Numbers at every step [N,T] by name.
        """
        del examples
        return {}

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts one line of new input to symbols [T], int32, or vectors [T,D], float32.

        The default reads numbers separated by commas or white space. Vectors follow each other, so
        a line has T times D numbers.

        Args:
          line: the line.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if the line is not an input of this task.
        """
        del preprocessing
        try:
            parts = line.replace(",", " ").split()
            numbers = np.array([float(part) for part in parts], np.float32)
        except ValueError:
            raise UserError(f"input: got {line.strip()!r}, expected numbers") from None
        # float() accepts "nan" and "inf".
        if not np.isfinite(numbers).all():
            raise UserError(f"input: got {line.strip()!r}, expected finite numbers")
        if isinstance(self.inputs, Tokens):
            symbols, V = numbers.astype(np.int32), self.inputs.vocabulary
            # Checked here, because an index out of range raises no error in a compiled program.
            if (symbols != numbers).any() or not ((symbols >= 0) & (symbols < V)).all():
                raise UserError(
                    f"input: got {line.strip()!r}, expected whole numbers from 0 to {V - 1}"
                )
            return symbols
        D = self.inputs.features
        if not len(numbers) or len(numbers) % D:
            raise UserError(f"input: got {len(numbers)} numbers, expected {D} per step")
        return numbers.reshape(-1, D)

    def read_inputs(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:
        """Yields the sequences of a whole input, by default one per line that is not empty.

        Args:
          lines: all lines of the input, without their ends.
          preprocessing: as in `Dataset`; `length` is the number of values of every sequence.
        """
        length = preprocessing.get("length")
        for line in lines:
            if line.strip():
                x = self.read_line(line, preprocessing)
                if length is not None and x.size != length:
                    raise UserError(f"input: got {x.size} values, expected {length} as in training")
                yield x

    def read_rolling(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields a sequence for each row from which to forecast, with its number; for `Series`."""
        del lines, preprocessing
        raise UserError(f"--rolling: got a run of {self.name}, expected a run of series")

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
        # Late: SciPy takes a quarter of a second, and only predictions need it.
        from scipy.special import expit, softmax

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
