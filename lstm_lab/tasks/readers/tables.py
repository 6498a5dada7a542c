"""Reads CSV tables: rows of text for classification, columns of numbers for forecasting."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.tasks.readers.text import read_text
from lstm_lab.utils.errors import UserError, unknown


def read_rows(path: Path, header: bool) -> list[list[str]]:
    """Reads the rows of a CSV file; all must have as many values as the first.

    Args:
      path: the file.
      header: whether the first row holds the names of the columns; it is skipped.

    Raises:
      UserError: if the file has no rows, or a row has another number of values.
    """
    reader = csv.reader(read_text(path).splitlines(keepends=True))
    rows: list[list[str]] = []
    for row in reader:
        if not row:
            continue
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
    """Reads columns of numbers [N,D] from a CSV file.

    Raises:
      UserError: if a column is missing or a value is not a finite number; names the line.
    """
    return parse_columns(f"data: {path}", read_text(path).splitlines(keepends=True), columns)


def parse_columns(what: str, lines: Iterable[str], columns: tuple[str, ...]) -> np.ndarray:
    """Reads columns of numbers [N,D] from the lines of a CSV with a header.

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
                raise unknown(f"{what}: column", column, [k for k in record if k])
            try:
                row.append(float(record[column]))
            except (TypeError, ValueError):
                raise UserError(
                    f"{what} line {reader.line_num} column {column!r}: got {record[column]!r}, "
                    "expected a number"
                ) from None
        rows.append(row)
    if not rows:
        raise UserError(f"{what} has no rows")
    values = np.array(rows)
    if not np.isfinite(values).all():
        line = int(np.flatnonzero(~np.isfinite(values).all(1))[0]) + 2
        raise UserError(f"{what} line {line} has a value that is not finite")
    return values


def numeric_columns(path: Path) -> tuple[str, ...]:
    """Returns the names of the columns whose first value is a number."""
    reader = csv.DictReader(read_text(path).splitlines(keepends=True))
    first = next(iter(reader), {})
    return tuple(name for name, value in first.items() if name and _is_number(value))


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
