"""A finished run as an object: `Run`.

In: the folder of a run. Out: metrics, curves, weights, predictions, and HTML for notebooks. Nothing
is read before it is used. Read `inference/predict.py` next.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.report.single_run import RunRecord, read_run
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.tables import ResultTable, html_table

if TYPE_CHECKING:
    import jax
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lstm_lab.config.run_spec import RunSpec
    from lstm_lab.explain.analyses import Explanation
    from lstm_lab.inference.load import Trained
    from lstm_lab.inference.states import LayerStates
    from lstm_lab.utils.types import PyTree

    # Texts, or model inputs.
    Inputs = np.ndarray | jax.Array | Sequence[np.ndarray] | str | Sequence[str]


@dataclass(frozen=True)
class Run:
    """A run and its results; `ll.train` and `ll.load_run` return it.

    Attributes:
      folder: the folder of the run, which holds everything that the other attributes read.
      trust_code: whether a cell or a task in the folder may run; `ll.train` sets it.

    Example:
      run = ll.load_run("runs/adding")
      run.metrics["mse"]
    """

    folder: Path
    trust_code: bool = False

    @cached_property
    def record(self) -> RunRecord:
        """What the folder says about the run: settings, status, metrics, curves."""
        return read_run(self.folder)

    @property
    def id(self) -> str:
        """The hash of the settings that differ from their defaults, and of the user's files."""
        return self.record.id

    @property
    def status(self) -> str:
        """How the run ended: completed, diverged, pruned, failed or interrupted."""
        return self.record.status

    @property
    def metrics(self) -> dict[str, float]:
        """The test metrics at the best validation checkpoint."""
        return self.record.test

    @property
    def history(self) -> DataFrame:
        """One row per evaluation: step, training loss and validation metrics."""
        return self.record.history.to_pandas()

    @cached_property
    def trained(self) -> Trained:
        """The settings, best weights and preprocessing, as `inference/` takes them."""
        from lstm_lab.inference.load import load_run

        return load_run(self.folder, self.trust_code)

    @property
    def spec(self) -> RunSpec:
        """All settings of the run."""
        return self.trained.spec

    @property
    def params(self) -> PyTree:
        """The parameters of the best checkpoint, by layer and name."""
        return self.trained.params

    def summary(self) -> ResultTable:
        """Returns the layers of the model with their shapes, parameters and operations.

        Example:
          run = ll.load_run("runs/adding")
          print(run.summary())
        """
        from lstm_lab.models.summary import summary_table

        return summary_table(self.spec)

    def plot(self) -> Figure:
        """Draws the training loss and the validation metric over the steps.

        Returns:
          A matplotlib figure, which a notebook shows.

        Example:
          run.plot().savefig("curves.png")
        """
        # Late: matplotlib takes longer to start than a small model to train.
        from lstm_lab.report.render.curves_of_run import draw_curves, show_inline

        return show_inline(draw_curves({"": self.record}))

    def predict(self, x: Inputs) -> Any:
        """Predicts for new inputs with the best weights.

        Args:
          x: one text, or a list of texts, each as a line of `lstm-lab predict`; for a task that
            reads a whole input, such as a series, the text of the file. Or model inputs as the
            task's data set holds them: tokens [N,T], vectors [N,T,D], or a list of sequences of
            different length.

        Returns:
          For texts one answer, or a list of answers, as `lstm-lab predict` prints them. For arrays
          an array [N,...]: probabilities of classes or of binary targets, or values in the units
          of the data set, which are standardized for a series; a list for a list.

        Raises:
          UserError: for inputs that the task cannot read, such as an empty text.

        Example:
          run.predict(["A fine film.", "Two hours of my life."])[0]["label"]
          run.predict(Path("load.csv").read_text())["forecast"]
        """
        from lstm_lab.inference.predict import predict_arrays, predict_lines

        if isinstance(x, str):
            answers = list(predict_lines(self.trained, self._lines(x)))
            if not answers:
                raise UserError("predict: got an empty text, expected an input")
            return answers[0]
        arrays = _arrays(x)
        if arrays is None:
            texts = _texts(x, self.spec.task.reads_whole_input)
            return list(predict_lines(self.trained, texts))
        if not isinstance(arrays, np.ndarray):
            return predict_arrays(self.trained, arrays)
        # An array has rows of one length, and so have its outputs; without rows, those of a zero.
        rows = arrays if len(arrays) else np.zeros((1, *arrays.shape[1:]), arrays.dtype)
        return np.stack(predict_arrays(self.trained, rows))[: len(arrays)]

    def states(self, x: Inputs) -> LayerStates | list[LayerStates]:
        """Computes the gates and states of all layers at every step, with the best weights.

        Args:
          x: as in `predict`.

        Returns:
          Arrays by layer (`layer_0`, `layer_0_reverse`, ...) and by name: `h`, and, if the cell has
          them, `c` and its gates; [N,T,H] for an array, [T,H] for one text. For a list, a list with
          arrays [T,H] for each sequence.

        Raises:
          UserError: for inputs that the task cannot read, or a translation.

        Example:
          run.states(x_NTD)["layer_0"]["f"].mean((0, 1))  # the mean forget gate of each unit
        """
        from lstm_lab.inference.states import states_over_time

        arrays = None if isinstance(x, str) else _arrays(x)
        if arrays is not None:
            found = states_over_time(self.trained, arrays)
            return _stacked(found) if isinstance(arrays, np.ndarray) and found else found
        task = self.spec.task
        lines = self._lines(x) if isinstance(x, str) else _texts(x, task.reads_whole_input)
        found = states_over_time(self.trained, task.read_inputs(lines, self.trained.preprocessing))
        return found[0] if isinstance(x, str) and found else found

    def _lines(self, text: str) -> list[str]:
        """Returns the lines of a text for a task that reads a whole input, or the text."""
        # A path in place of a text would be read as one word, or as the header of a table.
        if len(text) < 256 and "\n" not in text and Path(text).is_file():
            raise UserError(
                f"predict: got {text!r}, the name of a file; expected its text, as "
                f"Path({text!r}).read_text() returns it"
            )
        return text.split("\n") if self.spec.task.reads_whole_input else [text]

    def report(self) -> Path:
        """Writes the report of the run, and returns the path of report.html.

        Example:
          print(run.report())  # runs/adding/report/report.html
        """
        from lstm_lab.report.render.run_report import build_run_report

        build_run_report(self.folder)
        return self.folder / "report" / "report.html"

    def card(self, out: str | Path | None = None) -> Path:
        """Writes the model card of the run, in Hugging Face's layout, and returns its path.

        Args:
          out: the file; None takes MODEL_CARD.md in the folder of the run.

        Example:
          print(run.card())  # runs/adding/MODEL_CARD.md
        """
        from lstm_lab.cards.card import write_card

        return write_card(self.folder, None if out is None else Path(out))

    def explain(
        self,
        analyses: Sequence[str] = (),
        *,
        out: str | Path | None = None,
        data_dir: str | Path | None = None,
    ) -> Explanation:
        """Explains what the network does, and writes the page FOLDER/explain/explain.html.

        Args:
          analyses: fixed_points, lyapunov, gradient, lesions, signals, learning_rules; empty runs
            all of them.
          out: the folder of the page; None takes `explain` in the folder of the run.
          data_dir: the folder of data sets; None takes $LSTM_LAB_DATA or the user's cache.

        Returns:
          The results, which the page shows.

        Raises:
          UserError: for an unknown analysis, or missing data.

        Example:
          run.explain(["lyapunov"]).results["lyapunov"].exponents_BE[:, 0]
        """
        from lstm_lab.explain.analyses import explain
        from lstm_lab.explain.page import write_explanation
        from lstm_lab.tasks.readers.download import use_data_dir

        folder = use_data_dir(None if data_dir is None else Path(data_dir))
        dataset = self.spec.task.load(folder)
        explanation = explain(self.trained, dataset.splits["valid"], analyses)
        place = self.folder / "explain" if out is None else Path(out)
        write_explanation(place, self.record.title, explanation)
        return explanation

    def export(self, to: str, out: str | Path | None = None, **options: Any) -> Path:
        """Writes the model for another framework.

        Args:
          to: the target: safetensors, torch, keras, flax, equinox, onnx, web or stablehlo.
          out: the folder to write; None takes `export/TARGET` in the folder of the run. An
            earlier export there is replaced, if no file was added or changed.
          **options: `opset`, the version of ONNX' operators; `runtime`, the folder of
            onnxruntime-web's files, for `web`.

        Returns:
          The folder, with the files of the target, export.json, preprocessing.json, and the model
          card as README.md.

        Raises:
          UserError: for an unknown target or option, a model that the target cannot express, or a
            folder that holds something else, such as a file that was added to an earlier export.
            Nothing is written then.

        Example:
          run.export("torch")  # runs/adding/export/torch
        """
        from lstm_lab.cards.card import model_card
        from lstm_lab.cards.facts import ENDED
        from lstm_lab.interop.export import export_run
        from lstm_lab.interop.export_folder import check_path
        from lstm_lab.interop.targets import export_options

        def card(usage: str) -> str:
            return model_card(self.folder, usage)

        place = self.folder / "export" / to if out is None else Path(out)
        check_path(place)
        if self.folder.resolve().is_relative_to(place.resolve()):
            raise UserError(f"--out: {place} holds the run itself; choose another folder")
        # A run that was interrupted has weights, but no scores for a card.
        written = card if self.status in ENDED else None
        return export_run(self.trained, to, place, export_options(options), written)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        return f"Run({str(self.folder)!r}, {self.status}{', ' if metrics else ''}{metrics})"

    def _repr_html_(self) -> str:
        title = html.escape(f"{self.record.title}: {self.status}")
        table = html_table(self.record.scores_table())
        return f"<p><b>{title}</b> <code>{html.escape(str(self.folder))}</code></p>{table}"


def _arrays(x: Any) -> np.ndarray | list[np.ndarray] | None:
    """Returns arrays as NumPy arrays; None for a list of texts.

    Raises:
      UserError: for anything else.
    """
    import jax

    if isinstance(x, jax.Array):
        x = np.asarray(x)
    if not isinstance(x, Sequence | np.ndarray) or (isinstance(x, np.ndarray) and not x.ndim):
        # Without its content, which may fill pages.
        raise UserError(
            f"predict: got a {type(x).__name__}, expected arrays, a text or a list of texts"
        )
    if any(isinstance(row, str) for row in x):
        return None
    return x if isinstance(x, np.ndarray) else [np.asarray(row) for row in x]


def _stacked(found: Sequence[LayerStates]) -> LayerStates:
    """Returns the arrays of sequences of one length as one array each."""
    return {
        layer: {name: np.stack([one[layer][name] for one in found]) for name in names}
        for layer, names in found[0].items()
    }


def _texts(x: Any, empty_lines: bool) -> list[str]:
    """Returns a list of texts; raises UserError if an answer would belong to another text.

    Args:
      x: the texts.
      empty_lines: whether all of them are the lines of one input, which may be empty.
    """
    for number, text in enumerate(x, 1):
        if not isinstance(text, str):
            raise UserError(
                f"predict: text {number} is of type {type(text).__name__}, expected only texts, or "
                "only arrays"
            )
        if not text.strip() and not empty_lines:
            raise UserError(f"predict: text {number} is empty, expected an input; leave it out")
    return list(x)
