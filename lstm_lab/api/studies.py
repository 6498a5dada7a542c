"""Results of studies as objects: `StudyResult`, and `CellComparison` for a verdict on a cell.

In: the folder of a study. Out: the ranking, the claims, all runs as a table, and the report. Read
`report/comparison.py` next, which computes the numbers.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.api.runs import Run
from lstm_lab.report.comparison import Comparison
from lstm_lab.report.comparison import compare as compare_runs
from lstm_lab.report.cross_study import PairwiseComparison, compare_pair
from lstm_lab.report.render import tables
from lstm_lab.report.render.cross_study import build_cross_study_report, pair_headline, pair_table
from lstm_lab.report.render.headline import headline
from lstm_lab.report.render.results_table import results
from lstm_lab.report.runs import StudyRuns, best_run, read_study
from lstm_lab.report.verdicts import ClaimVerdict
from lstm_lab.utils.tables import ResultTable, html_table

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class StudyResult:
    """A study and its results; `ll.sweep` and `ll.load_study` return it.

    Attributes:
      folder: the folder of the study.
      trust_code: as in `Run`.

    Example:
      study = ll.load_study("runs/digits_ablation")
      study.ranking
    """

    folder: Path
    trust_code: bool = False

    @cached_property
    def runs(self) -> StudyRuns:
        """The declaration of the study and one row per run."""
        return read_study(self.folder)

    @cached_property
    def comparison(self) -> Comparison:
        """All numbers of the report."""
        return compare_runs(self.runs)

    @property
    def ranking(self) -> DataFrame:
        """One row per variant, the best of each task first: score, interval, tests, verdict."""
        c = self.comparison
        columns = ("variant", "parameters", "n", c.test_metric, "low", "high", "p_welch", "p_holm")
        rows = []
        for row in c.rows:
            parameters = row.parameters[1] if row.parameters else None
            mean = (row.mean.estimate, row.mean.low, row.mean.high)
            tests = (row.p_welch, row.p_holm, row.verdict)
            rows.append((row.variant, parameters, len(row.scores), *mean, *tests))
        return ResultTable((*columns, "verdict"), rows).to_pandas()

    @property
    def claims(self) -> list[ClaimVerdict]:
        """The verdicts on the planned claims: holds, fails or inconclusive."""
        return self.comparison.claims

    @property
    def best(self) -> Run:
        """The run with the best validation metric among the final runs.

        Raises:
          UserError: if no run completed.
        """
        from lstm_lab.results.study_file import run_folder

        return Run(run_folder(self.folder, best_run(self.runs).id), self.trust_code)

    @property
    def table(self) -> ResultTable:
        """One row per run: variant, seed, settings, status, scores, cost."""
        header, rows = results(self.runs)
        return ResultTable(tuple(header), [tuple(row) for row in rows])

    def to_pandas(self) -> DataFrame:
        """Returns one row per run as a pandas DataFrame.

        Example:
          frame = ll.load_study("runs/cells").to_pandas()
          frame.groupby("variant")["parameters"].first()
        """
        return self.table.to_pandas()

    def report(self) -> Path:
        """Writes the report, and returns the path of report.html.

        Example:
          print(ll.load_study("runs/cells").report())  # runs/cells/report/report.html
        """
        from lstm_lab.report.render.files import build

        build(self.folder)
        return self.folder / "report" / "report.html"

    def __repr__(self) -> str:
        return f"StudyResult({str(self.folder)!r}, {headline(self.comparison)!r})"

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self.comparison.title)}</b></p>"]
        parts.append(f"<p>{html.escape(headline(self.comparison))}</p>")
        parts.append(html_table(tables.ranking(self.comparison)))
        if self.claims:
            parts.append(html_table(tables.claims(self.comparison)))
        return "".join([*parts, f"<p><code>{html.escape(str(self.folder))}</code></p>"])


@dataclass(frozen=True)
class CellComparison:
    """A cell compared with a baseline on several tasks; `ll.compare` returns it.

    Attributes:
      folder: the folder that holds one study per task.
      studies: the studies, by task.

    Example:
      ll.compare("my_cell.py:mine", against="lstm", tasks=["digits"], budget=4).verdict
    """

    folder: Path
    studies: dict[str, StudyResult]

    @cached_property
    def pair(self) -> PairwiseComparison:
        """The differences between both cells, paired by seed."""
        runs = [study.runs for study in self.studies.values()]
        baseline = runs[0].study["baseline"]
        cell = next(name for name in runs[0].study["variants"] if name != baseline)
        return compare_pair(runs, cell, baseline)

    @property
    def verdict(self) -> str:
        """Better, worse, equivalent or inconclusive, over all tasks."""
        return self.pair.verdict

    def report(self) -> Path:
        """Writes the report, and returns the path of report.html.

        Example:
          comparison = ll.compare("gru", against="lstm", tasks=["adding_50"], budget=4)
          print(comparison.report())  # runs/compare-gru-lstm-4/report/report.html
        """
        self.write_report()
        return self.folder / "report" / "report.html"

    def write_report(self) -> str:
        """Writes the report, and returns its tables as text.

        Example:
          print(comparison.write_report())  # the tables of the report, as text
        """
        folders = [study.folder for study in self.studies.values()]
        title = f"{Path(self.pair.variant).name} against {self.pair.baseline}"
        return build_cross_study_report(folders, self.folder / "report", title)

    def __repr__(self) -> str:
        return f"CellComparison({str(self.folder)!r}, {pair_headline(self.pair)!r})"

    def _repr_html_(self) -> str:
        headline = html.escape(pair_headline(self.pair))
        return f"<p><b>{headline}</b></p>{html_table(pair_table(self.pair))}"


def load_study(folder: str | Path, *, trust_code: bool = False) -> StudyResult:
    """Loads the results of a study, also while it runs.

    Args:
      folder: the folder of `lstm-lab sweep` or `ll.sweep`.
      trust_code: whether the cells and tasks in the folder may run; they have all your rights.

    Returns:
      The results so far, as `ll.sweep` returns them.

    Raises:
      UserError: for a folder without a study.

    Example:
      ll.load_study("runs/digits_ablation").ranking
    """
    result = StudyResult(Path(folder), trust_code)
    _ = result.runs  # a wrong folder is reported here, not at the first use
    return result
