"""The runs of a study as a table: CSV, and Parquet if pyarrow is installed.

In: `StudyRuns`. Out: one row per run, for analyses that the report does not have.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

from lstm_lab.report.runs import StudyRuns
from lstm_lab.utils.files import write_bytes, write_text

# The columns in their order. PATH stands for the settings that differ between the runs, METRIC for
# the metric of the study, and after `test_` for its test metric.
COLUMNS = {
    "id": "id of the run; its folder is runs/ID",
    "variant": "label of the variant in the study",
    "stage": "`tuning` or `final`",
    "seed": "seed of the run",
    "PATH": "one column for each setting that differs between runs, such as `optim.lr`",
    "status": "how the run ended, such as `completed` or `diverged`; `missing` without a run",
    "reason": "why it failed or was interrupted",
    "best_step": "step of the best weights on the validation split",
    "valid_METRIC": "validation score of the best weights",
    "test_METRIC": "test score of the best weights",
    "parameters": "number of parameters",
    "flops": "floating-point operations of the training",
    "wall_s": "training time in seconds while the run had a lane",
}


def write_results(folder: Path, runs: StudyRuns) -> None:
    """Writes results.csv, and results.parquet if pyarrow is installed, into a folder.

    Args:
      folder: the folder of the report.
      runs: the study.
    """
    header, rows = results(runs)
    write_text(folder / "results.csv", as_csv(header, rows))
    if importlib.util.find_spec("pyarrow"):
        write_bytes(folder / "results.parquet", as_parquet(header, rows))


def results(runs: StudyRuns) -> tuple[list[str], list[list[Any]]]:
    """Returns a header and one row per run, in the order of the plan.

    Args:
      runs: the study; runs without a result have None in the columns of results.
    """
    # All paths of all runs: a conditional setting exists in some of them only.
    paths = sorted({path for run in runs.runs for path in run.point})
    header = []
    for column in COLUMNS:
        metric = runs.test_metric if column == "test_METRIC" else runs.study["metric"]
        header += paths if column == "PATH" else [column.replace("METRIC", metric)]
    rows = []
    for run in runs.runs:
        row = [run.id, run.variant, run.stage, run.seed, *(run.point.get(p) for p in paths)]
        row += [run.status, run.reason, run.best_step]
        rows.append([*row, run.valid, run.test, run.parameters, run.flops, run.wall_s])
    return header, rows


def as_csv(header: list[str], rows: list[list[Any]]) -> str:
    """Returns the table as CSV; None becomes an empty cell.

    Args:
      header, rows: from `results`.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    return file.getvalue()


def as_parquet(header: list[str], rows: list[list[Any]]) -> bytes:
    """Returns the table as Parquet.

    A column has one type: columns with lists or mixed types become JSON text.

    Args:
      header, rows: from `results`.
    """
    import pyarrow
    from pyarrow import parquet

    columns = [_unify_types([row[i] for row in rows]) for i in range(len(header))]
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(zip(header, columns, strict=True))), file)
    return file.getvalue()


def _unify_types(column: list[Any]) -> list[Any]:
    types = {type(value) for value in column if value is not None}
    if types <= {int, float}:
        return [None if v is None else float(v) for v in column] if float in types else column
    if types in ({str}, {bool}):
        return column
    return [None if value is None else json.dumps(value) for value in column]
