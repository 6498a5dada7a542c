"""Several seeds of one config as an object, `Runs`, and `load_run`, which reads any folder of runs.

In: the folder of a study without variants, or of a run. Out: means over the seeds, and what `Run`
has of the best one. Read `runs.py` first.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.api.runs import Run
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.tables import ResultTable, html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lstm_lab.config.run_spec import RunSpec
    from lstm_lab.explain.analyses import Explanation
    from lstm_lab.report.runs import StudyRuns
    from lstm_lab.utils.types import PyTree


@dataclass(frozen=True)
class Runs:
    """Several seeds of one config; `ll.train(..., seeds=N)` returns it.

    It has what `Run` has: metrics are means, tables have a column `seed`, and weights and
    predictions are those of the best seed.

    Attributes:
      folder: the folder of the study whose runs these are.
      trust_code: as in `Run`.

    Example:
      runs = ll.train("adding:lstm", seeds=5)
      runs.metrics["mse"], runs[0].metrics["mse"]
    """

    folder: Path
    trust_code: bool = False

    @cached_property
    def study(self) -> StudyRuns:
        """The declaration of the study and one row per planned run."""
        from lstm_lab.report.runs import read_study

        return read_study(self.folder)

    @cached_property
    def runs(self) -> list[Run]:
        """The runs that have started, by seed."""
        from lstm_lab.results.study_file import run_folder

        rows = sorted(self.study.runs, key=lambda row: row.seed)
        started = [run_folder(self.folder, row.id) for row in rows if row.status != "missing"]
        return [Run(folder, self.trust_code) for folder in started]

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, number: int) -> Run:
        return self.runs[number]

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    @property
    def status(self) -> str:
        """Completed, or the status of the first run that did not complete: "missing" if not begun.

        All planned runs count. A run without a folder has no `Run` in `runs`.
        """
        rows = sorted(self.study.runs, key=lambda row: row.seed)
        planned = "completed" if len(rows) >= self.study.expected else "missing"
        return next((row.status for row in rows if row.status != "completed"), planned)

    @property
    def metrics(self) -> dict[str, float]:
        """The mean of each test metric over the seeds that completed."""
        scored = [run.metrics for run in self.runs if run.status == "completed"]
        names = scored[0] if scored else {}
        return {name: sum(m[name] for m in scored) / len(scored) for name in names}

    @property
    def history(self) -> DataFrame:
        """The evaluations of all seeds, with a column `seed`."""
        tables = [(run.record.seed, run.record.history) for run in self.runs]
        columns = next((table.columns for _, table in tables), ())
        rows = [(seed, *row) for seed, table in tables for row in table.rows]
        return ResultTable(("seed", *columns), rows).to_pandas()

    @property
    def best(self) -> Run:
        """The seed with the best validation metric.

        Raises:
          UserError: if no seed completed.
        """
        from lstm_lab.report.runs import best_run
        from lstm_lab.results.study_file import run_folder

        best = best_run(self.study)
        return Run(run_folder(self.folder, best.id), self.trust_code)

    @property
    def spec(self) -> RunSpec:
        """The settings of the best seed."""
        return self.best.spec

    @property
    def params(self) -> PyTree:
        """The parameters of the best seed."""
        return self.best.params

    def summary(self) -> ResultTable:
        """Returns the layers of the model, as `Run.summary`.

        Example:
          ll.train("adding:lstm", seeds=3).summary()
        """
        return self.best.summary()

    def plot(self) -> Figure:
        """Draws the curves of all seeds, as `Run.plot`.

        Example:
          runs.plot().savefig("seeds.png")  # one curve per seed
        """
        from lstm_lab.report.render.curves_of_run import draw_curves, show_inline

        return show_inline(
            draw_curves({f"seed {run.record.seed}": run.record for run in self.runs})
        )

    def predict(self, x: np.ndarray | Sequence[np.ndarray] | str | Sequence[str]) -> Any:
        """Predicts with the best seed, as `Run.predict`.

        Args:
          x: as in `Run.predict`.

        Example:
          x_NTD = np.zeros((4, 100, 2), np.float32)
          runs.predict(x_NTD).shape  # (4, 1) for the task `adding`
        """
        return self.best.predict(x)

    def report(self) -> Path:
        """Writes the report of the study, and returns the path of report.html.

        Example:
          webbrowser.open(runs.report().resolve().as_uri())
        """
        from lstm_lab.report.render.files import build

        build(self.folder)
        return self.folder / "report" / "report.html"

    def card(self, out: str | Path | None = None) -> Path:
        """Writes the model card of the best seed, with intervals over all seeds, as `Run.card`.

        Args:
          out: as in `Run.card`.

        Example:
          runs.card("README.md")
        """
        return self.best.card(out)

    def explain(self, analyses: Sequence[str] = (), **options: Any) -> Explanation:
        """Explains what the network of the best seed does, as `Run.explain`.

        Args:
          analyses: as in `Run.explain`.
          **options: `out` and `data_dir` of `Run.explain`.

        Example:
          runs.explain(["signals"], out="runs/best/explain")
        """
        return self.best.explain(analyses, **options)

    def export(self, to: str, out: str | Path | None = None, **options: Any) -> Path:
        """Writes the model of the best seed for another framework, as `Run.export`.

        Args:
          to, out: as in `Run.export`.
          **options: as in `Run.export`.

        Example:
          runs.export("onnx", "digits_onnx", opset=17)
        """
        return self.best.export(to, out, **options)

    def __repr__(self) -> str:
        metrics = ", ".join(f"mean {name}={value:.4g}" for name, value in self.metrics.items())
        return f"Runs({str(self.folder)!r}, {len(self)} seeds{', ' if metrics else ''}{metrics})"

    def _repr_html_(self) -> str:
        names = list(self.metrics)
        rows = [["seed", "status", *(f"test {name}" for name in names)]]
        for run in self.runs:
            values = (run.metrics.get(name) for name in names)
            shown = ["" if value is None else f"{value:.4g}" for value in values]
            rows.append([str(run.record.seed), run.status, *shown])
        rows.append(["mean", "", *(f"{value:.4g}" for value in self.metrics.values())])
        return f"<p><code>{html.escape(str(self.folder))}</code></p>{html_table(rows)}"


def load_run(folder: str | Path, *, trust_code: bool = False) -> Run | Runs:
    """Loads a run, or several seeds of a config, from the folder of `lstm-lab train`.

    Args:
      folder: the folder of a run, or of a study that has no variants.
      trust_code: whether a cell or a task in the folder may run; it has all your rights.

    Returns:
      A `Run` for the folder of one run, and `Runs` for a study of one variant, as `ll.train`
      returns them.

    Raises:
      UserError: for a folder that holds neither, or a study with several variants.

    Example:
      ll.load_run("runs/adding").metrics
    """
    path = Path(folder)
    if (path / "run.json").is_file():
        return Run(path, trust_code)
    if (path / "study.json").is_file():
        from lstm_lab.results.study_file import read_plan

        if len(read_plan(path)["study"]["variants"]) == 1:
            return Runs(path, trust_code)
        raise UserError(f"load_run: {path} is a study with several variants; use load_study")
    raise UserError(f"load_run: {path} holds no run (run.json is missing)")
