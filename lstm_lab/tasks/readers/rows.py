"""Delimited text as rows of values: the delimiter, quotes, the header, and nothing else.

In: text from files.py. Out: a `RawTable`: text by column, with the line on which each record
begins. tables.py gives the values their meaning.

Python's `csv` splits the records, and a pattern checks their quotes. pandas' own parsers would
lose the numbers of the lines, and accept quotes inside values and rows that are too short.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lstm_lab.tasks.readers.files import lines_of
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError, missing_column

if TYPE_CHECKING:
    from pandas import DataFrame

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
Row = tuple[int, list[str]]  # the line on which a record begins, and its values


@dataclass(frozen=True)
class RawTable:
    """A table as text.

    Attributes:
      what: names the input in error messages.
      frame: the values as text, stripped of surrounding spaces. The index has the line on which
        each record begins.
      unit: what the index counts: `line`, or `row` for a file without lines.
      delimiter: what separates the values in the text.

    Example:
      table = parse_table("data: a.csv", "x,y\\n1,2\\n")
      table.frame.loc[2, "y"]  # "2"
    """

    what: str
    frame: DataFrame
    unit: str = "line"
    delimiter: str = ","

    @property
    def names(self) -> list[str]:
        """The names of the columns; "" for a column without one."""
        return list(self.frame.columns)

    def place(self, line: int, column: str | None = None) -> str:
        """Returns where a value is, for an error message."""
        where = f"{self.what} {self.unit} {line}"
        return where if column is None else f"{where} column {column!r}"

    def require(self, columns: Iterable[str]) -> None:
        """Raises UserError if a column is missing."""
        for column in columns:
            if column not in self.names:
                raise missing_column(self.what, column, filter(None, self.names))


@collector_paused()
def parse_table(
    what: str, text: str, delimiter: str | None = None, header: bool = True, decimal: str = "."
) -> RawTable:
    """Parses a table with one record per row, all as long as the first.

    Args:
      what: names the input in error messages.
      text: the table.
      delimiter: what separates two values; None finds it.
      header: whether the first record has the names of the columns. Without one, they are called
        "1", "2" and so on.
      decimal: the decimal mark; it cannot separate values too.

    Raises:
      UserError: for records of different lengths, wrong quotes, doubled names, a header among the
        rows, or no records.
    """
    from pandas import DataFrame

    delimiter = delimiter or find_delimiter(what, text, decimal)
    records = split_rows(what, text, delimiter)
    if not records:
        raise UserError(f"{what} is empty")
    width = len(records[0][1])
    for line, values in records:
        if len(values) != width:
            first = "the header" if header else f"the first row (line {records[0][0]})"
            raise UserError(
                f"{what} line {line} has {len(values)} values, expected {width} as in {first}; "
                f"the delimiter is {describe_delimiter(delimiter)} (task.delimiter)"
            )
    names = [str(k) for k in range(1, width + 1)]
    if header:
        names = _header(what, records[0])
        records = records[1:]
    if not records:
        raise UserError(f"{what} has no rows below its header")
    if header:
        _refuse_data_as_header(what, names, records[0][1])
        again = next((line for line, values in records if values == names), None)
        if again is not None:
            raise UserError(
                f"{what} line {again} repeats line 1, the header: these are two tables, or one "
                "without a header (task.header=false)"
            )
    frame = DataFrame(
        [values for _, values in records],
        index=[line for line, _ in records],
        columns=names,
        dtype=object,
    )
    return RawTable(what, frame, delimiter=delimiter)


def _header(what: str, record: Row) -> list[str]:
    names = record[1]
    doubled = [name for name, count in Counter(names).items() if count > 1 and name]
    if doubled:
        raise UserError(
            f"{what} line {record[0]} has the column {doubled[0]!r} more than once; "
            "give every column its own name"
        )
    return names


def _refuse_data_as_header(what: str, names: list[str], first: list[str]) -> None:
    """Raises UserError if the header looks like a row of values: numbers above numbers."""
    number = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?", re.I)
    above = [name for name, value in zip(names, first, strict=True) if number.fullmatch(value)]
    if above and all(number.fullmatch(name) for name in above):
        raise UserError(
            f"{what} line 1 has {above[0]!r} where the name of a column is expected; add a line "
            "with the names, or set task.header=false"
        )


def find_delimiter(what: str, text: str, decimal: str = ".") -> str:
    """Returns the delimiter of a table: the one that gives all rows the same number of values.

    Args:
      what: names the input in error messages.
      text: the table.
      decimal: the decimal mark, which is no candidate.

    Returns:
      A comma, semicolon, tab or bar; a comma if none occurs in the first row.

    Raises:
      UserError: if several candidates occur in the first row, and not exactly one of them splits
        all rows into the same number of values.
    """
    first = next((line for line in lines_of(text) if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", first)
    candidates = [mark for mark in DELIMITERS if mark in bare and mark != decimal]
    if len(candidates) < 2:
        # Values with decimal commas may stand in quotes between commas.
        comma = decimal != "," or ("," in bare and not _DECIMAL_COMMA.fullmatch(bare))
        return candidates[0] if candidates else "," if comma else ";"
    fitting = []
    for mark in candidates:
        try:
            widths = {len(values) for _, values in split_rows(what, text, mark)}
        except UserError:
            continue
        if len(widths) == 1:
            fitting.append(mark)
    if len(fitting) == 1:
        return fitting[0]
    names = " and ".join(DELIMITERS[mark] for mark in (fitting or candidates))
    problem = (
        f"{what} line 1 has {names}, and more than one of them splits all rows equally"
        if fitting
        else f"{what} has rows of different lengths, whichever of {names} separates the values"
    )
    raise UserError(
        f"{problem}; set task.delimiter, such as --config.task.delimiter='{candidates[-1]}', or "
        "task.decimal=, for decimal commas"
    )


def describe_delimiter(delimiter: str) -> str:
    """Returns a delimiter as a word."""
    return DELIMITERS.get(delimiter, repr(delimiter))


def split_rows(what: str, text: str, delimiter: str) -> list[Row]:
    """Splits delimited text into records; lines that are empty are left out.

    A quote may only open at the start of a value, and must close at its end. A value may contain
    line breaks. It may have any length.

    Args:
      what: names the input in error messages.
      text: the text, without NUL.
      delimiter: one character.

    Raises:
      UserError: for a wrong quote; the message names the line on which the record begins.
    """
    # `csv` has a limit of 131,072 characters, which is a setting of the process.
    csv.field_size_limit(sys.maxsize)
    # `csv` would end a record at a single \r, and files.py has refused NUL: it stands in for \r.
    lines = list(lines_of(text.replace("\r", "\0")))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[Row] = []
    begin = 0
    try:
        for values in reader:
            raw = "".join(lines[begin : reader.line_num])
            if '"' in raw and not _pattern(delimiter).fullmatch(raw):
                raise csv.Error("a quote inside a value")
            if not raw.strip(" \0\n"):
                values = []
            rows.append((begin + 1, [value.replace("\0", "\r").strip() for value in values]))
            begin = reader.line_num
    except csv.Error:
        raise UserError(
            f"{what} line {begin + 1} has a quote that does not enclose a whole value; write "
            '"..." around the value, and "" for a quote inside it'
        ) from None
    return _without_empty_lines(rows)


def _without_empty_lines(rows: list[Row]) -> list[Row]:
    filled = [k for k, (_, values) in enumerate(rows) if values]
    if not filled:
        return []
    if len(rows[filled[0]][1]) > 1:
        return [rows[k] for k in filled]
    # In a table of one column, an empty line between others is a value that is missing.
    return [(line, values or [""]) for line, values in rows[filled[0] : filled[-1] + 1]]


@lru_cache(maxsize=8)
def _pattern(delimiter: str) -> re.Pattern[str]:
    """Returns the pattern of a record whose quotes enclose whole values (RFC 4180)."""
    mark = re.escape(delimiter)
    value = rf'(?:"[^"]*(?:""[^"]*)*"\0?|[^"{mark}\n]*)'
    return re.compile(rf"{value}(?:{mark}{value})*\n?")


def one_row(what: str, line: str, delimiter: str) -> list[str]:
    """Returns the values of one line.

    Args:
      what: names the input in error messages.
      line: the line.
      delimiter: one character.

    Raises:
      UserError: as `split_rows`, or if the line is empty.
    """
    rows = split_rows(what, line, delimiter)
    if len(rows) != 1:
        raise UserError(f"{what}: got {len(rows)} rows, expected 1")
    return rows[0][1]


def names_text(names: Sequence[str], most: int = 6) -> str:
    """Returns names as a list for people, shortened if there are many."""
    shown = [name or "(no name)" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more
