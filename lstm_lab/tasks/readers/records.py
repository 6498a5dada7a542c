"""Reads the records of a file: a table with a header, or JSON lines.

In: a file. Out: a dict per record with its line number. tables.py reads tables of numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lstm_lab.tasks.readers.files import is_parquet, lines_of, read_bytes, read_text
from lstm_lab.tasks.readers.rows import RawTable, names_text
from lstm_lab.tasks.readers.tables import RowFormat, TableFormat, read_table
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError, missing_column

Record = dict[str, Any]
Records = list[tuple[int, Record]]


@dataclass(frozen=True)
class RecordFile:
    """The records of a file before it is known which columns they must have.

    Attributes:
      path: the file.
      records: its records.
      is_json: whether they are JSON lines.
    """

    path: Path
    records: Records
    is_json: bool

    def having(self, columns: Iterable[str], missing: Literal["drop"] | None = None) -> Records:
        """Returns the records, which all have a value in these columns.

        Args:
          columns: the columns.
          missing: whether to leave records without a value out (drop), or to refuse them.

        Raises:
          UserError: if a column or a value is missing.
        """
        columns = tuple(columns)
        for line, record in self.records:
            for column in columns:
                if column not in record:
                    # The header of a table is its first line; JSON lines have names in each line.
                    where = f"{self.path} line {line}" if self.is_json else self.path
                    raise missing_column(f"data: {where}", column, filter(None, record))
        empty = {
            line: column
            for line, record in self.records
            for column in columns
            if _is_empty(record[column], self.is_json)
        }
        if empty and missing is None:
            line, column = next(iter(empty.items()))
            raise UserError(
                f"data: {self.path} line {line} has nothing for column {column!r}; fill it, or "
                "leave such records out with task.missing=drop"
            )
        kept = [(line, record) for line, record in self.records if line not in empty]
        if not kept:
            raise UserError(f"data: {self.path} has no record without missing values")
        return kept


@collector_paused()
def read_record_file(path: Path, form: RowFormat | None = None) -> RecordFile:
    """Reads the records of a file: JSON lines if it begins with an object, else a table.

    Args:
      path: the file, also inside .gz or .zip.
      form: how a table is written; None finds its delimiter.

    Raises:
      UserError: if the file has no records, or a line is malformed.
    """
    is_json = ".json" in path.name
    if not is_json and not is_parquet(read_bytes(path)):
        # By content too: an archive or a pipe has a name of its own.
        is_json = read_text(path).lstrip().startswith('{"')
    if is_json:
        records = _json_lines(path, read_text(path))
    else:
        records = records_of(
            read_table(path, TableFormat(delimiter=form.delimiter if form else None))
        )
    if not records:
        raise UserError(f"data: {path} has no records")
    return RecordFile(path, records, is_json)


def read_records(
    path: Path,
    columns: Iterable[str] = (),
    form: RowFormat | None = None,
    missing: Literal["drop"] | None = None,
) -> Records:
    """Reads the records of a file that must have some columns.

    Args:
      path, form: as in `read_record_file`.
      columns, missing: as in `RecordFile.having`.

    Returns:
      For each record its line number, counted from 1, and its values by column. A record with line
      breaks has the number of its first line. Empty lines are skipped.

    Raises:
      UserError: if the file has no records, a line is malformed, or a column or value is missing.

    Example:
      read_records(Path("reviews.csv"), ("text", "label"))[0]
      # (2, {"text": "a great film", "label": "good"})
    """
    return read_record_file(path, form).having(columns, missing)


def _is_empty(value: Any, is_json: bool) -> bool:
    # JSON tells a text without words from one that is missing; a table cannot.
    return value is None or (not is_json and value == "")


def records_of(table: RawTable) -> Records:
    """Returns the rows of a table as records."""
    names = table.names
    rows = table.frame.itertuples(index=True, name=None)
    return [(line, dict(zip(names, values, strict=True))) for line, *values in rows]


def _json_lines(path: Path, text: str) -> Records:
    records = []
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            records.append((number, parse_object(f"data: {path} line {number}", line)))
    return records


def parse_object(what: str, line: str) -> Record:
    """Parses a JSON object strictly: no doubled keys, no NaN, and no infinity.

    Args:
      what: names the input in error messages.
      line: the line.

    Raises:
      UserError: for anything else.
    """
    try:
        record = json.loads(line, parse_constant=_refuse, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise UserError(f"{what} is not a record: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{what} is not JSON: {error.msg}") from None
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None
    if not isinstance(record, dict):
        raise UserError(f"{what} is not a JSON object")
    return record


def _refuse(name: str) -> float:
    raise ValueError(f"got {name}, which is not JSON; write null for a value that is missing")


def _without_doubles(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        doubled = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
        raise ValueError(f"got the key {doubled!r} more than once")
    return record


def find_text_columns(file: RecordFile, text: str | None, label: str | None) -> tuple[str, str]:
    """Returns the columns of texts and labels: those named, or those that leave no doubt.

    Args:
      file: the file.
      text, label: the columns that the user named, or None.

    Raises:
      UserError: if several columns, or none, may be the texts or the labels.
    """
    path, records = file.path, file.records
    names = list(dict.fromkeys(name for _, record in records for name in record if name))
    for column in (text, label):
        if column is not None and column not in names:
            raise missing_column(f"data: {path}", column, names)
    text = text or ("text" if "text" in names and label != "text" else None)
    label = label or ("label" if "label" in names and text != "label" else None)
    rest = [name for name in names if name not in (text, label)]
    values = {name: [str(record.get(name)) for _, record in records] for name in rest}
    if text is None:
        text = _only([name for name in rest if _like_texts(values[name])])
    if label is None:
        label = _only([name for name in rest if name != text and _like_labels(values[name])])
    if text is None or label is None:
        problem = "the texts" if text is None else "the labels"
        option = "text" if text is None else "label"
        raise UserError(
            f"data: {path}: no column {option!r}, and it is not clear which one has {problem}; "
            f"set task.{option} to one of {names_text(names, 20)}"
        )
    return text, label


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _like_texts(values: list[str]) -> bool:
    """Returns whether the values have three words on average, or more."""
    return sum(len(value.split()) for value in values) >= 3 * len(values)


def _like_labels(values: list[str]) -> bool:
    """Returns whether there are two or more values, each of them several times on average."""
    return 2 <= len(set(values)) <= max(2, len(values) // 2)
