"""Reads CSV tables: rows of text for classification, columns of numbers for forecasting.

In: a file, or lines that a user enters. Out: rows of strings, or an array. records.py reads texts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.tasks.readers.text import lines_of, read_text
from lstm_lab.utils.errors import UserError, missing_column


def read_rows(path: Path, header: bool) -> list[list[str]]:
    """Reads the rows of a CSV file; all rows must have the same number of values, at least 2.

    Args:
      path: the file.
      header: whether the first row has the names of the columns; it is skipped.

    Returns:
      The values of each row, without surrounding spaces.

    Raises:
      UserError: if the file has no rows, or a row has another number of values.
    """
    # csv needs the line ends to keep line breaks inside quoted values.
    reader = csv.reader(lines_of(read_text(path)))
    rows: list[list[str]] = []
    for row in reader:
        if not row:
            continue
        # "A, B" is common in files that people write by hand, and " B" would be another category.
        rows.append([value.strip() for value in row])
        if len(row) != len(rows[0]) or len(row) < 2:
            raise UserError(
                f"data: {path} line {reader.line_num}: got {len(row)} values, "
                f"expected {len(rows[0])} as in the first row, and at least 2"
            )
    if len(rows) <= header:
        raise UserError(f"data: {path} has no rows")
    return rows[header:]


def read_columns(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    """Reads columns of numbers [N,D], float64, from a CSV file with a header.

    Args:
      path: the file.
      columns: the columns to read, in this order.

    Raises:
      UserError: if a column is missing or a value is not a finite number; the message names the
        line.
    """
    return parse_columns(f"data: {path}", lines_of(read_text(path)), columns)


def parse_columns(what: str, lines: Iterable[str], columns: tuple[str, ...]) -> np.ndarray:
    """Reads columns of numbers [N,D], float64, from the lines of a CSV with a header.

    Args:
      what: names the input in error messages.
      lines: the header and the rows.
      columns: the columns to read, in this order.

    Raises:
      UserError: as `read_columns`.
    """
    reader = csv.DictReader(lines)
    rows = []
    for record in reader:
        row = []
        for column in columns:
            if column not in record:
                raise missing_column(what, column, [k for k in record if k])
            # float() accepts "nan" and "inf". One NaN in the data would make every loss NaN.
            if not _is_number(record[column]):
                raise UserError(
                    f"{what} line {reader.line_num} column {column!r}: got {record[column]!r}, "
                    "expected a finite number"
                )
            row.append(float(record[column]))
        rows.append(row)
    if not rows:
        raise UserError(f"{what} has no rows")
    # float64: a series with a large mean keeps its digits until the caller subtracts the mean.
    return np.array(rows)


def numeric_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns of a CSV file whose first value is a finite number."""
    # One row decides. A later value that is not a number is then an error of `read_columns`, which
    # names its line, and does not silently remove the column.
    reader = csv.DictReader(lines_of(read_text(path)))
    first = next(iter(reader), {})
    return tuple(name for name, value in first.items() if name and _is_number(value))


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
