"""Reads the records of a file: CSV with a header, or JSON lines.

In: a file. Out: a dict per record with its line number. tables.py reads tables of numbers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lstm_lab.tasks.readers.text import lines_of, read_text
from lstm_lab.utils.errors import UserError, missing_column

Record = dict[str, Any]


def read_records(path: Path, columns: Iterable[str]) -> list[tuple[int, Record]]:
    """Reads the records of a file: JSON lines if its name contains .json, else CSV.

    Args:
      path: the file, gzipped if its name ends in .gz.
      columns: the columns that each record must have.

    Returns:
      For each record its line number, counted from 1, and its values by column. A CSV record with
      line breaks has the number of its last line. Empty lines are skipped.

    Raises:
      UserError: if the file has no records, a line is malformed, or a column is missing.
    """
    text = read_text(path)
    # Not the suffix, which is .gz for train.jsonl.gz.
    records = _json_lines(path, text) if ".json" in path.name else _csv(path, text)
    if not records:
        raise UserError(f"data: {path} has no records")
    for line, record in records:
        for column in columns:
            if column not in record:
                # The header of a CSV file is its first line; JSON lines have names in each line.
                where = path if ".json" not in path.name else f"{path} line {line}"
                raise missing_column(f"data: {where}", column, record)
            # JSON may contain null, and csv gives None to the columns that a short row lacks.
            if record[column] is None:
                raise UserError(f"data: {path} line {line} has no value in column {column!r}")
    return records


def _json_lines(path: Path, text: str) -> list[tuple[int, Record]]:
    records = []
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"data: {path} line {number} is not JSON: {error.msg}") from None
        if not isinstance(record, dict):
            raise UserError(f"data: {path} line {number} is not a JSON object")
        records.append((number, record))
    return records


def _csv(path: Path, text: str) -> list[tuple[int, Record]]:
    # A quoted value may contain line breaks; csv keeps them only if the lines do.
    reader = csv.DictReader(lines_of(text))
    records = []
    for record in reader:
        # csv collects the values of a row that is too long under the key None. The usual cause is
        # an unquoted comma in a text.
        if None in record:
            raise UserError(
                f"data: {path} line {reader.line_num} has more values than the "
                f"{len(reader.fieldnames or ())} columns of the header"
            )
        records.append((reader.line_num, record))
    return records
