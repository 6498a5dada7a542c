"""Tables of users: columns of numbers and of words, missing values, names of columns.

In: a file with a header, and the options that say how to read it (`TableFormat`). Out: a `RawTable`
of text, then numbers by column. The same functions read the input of `predict`. times.py checks
columns of times; records.py reads texts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstm_lab.tasks.readers.files import decode, is_parquet, read_bytes, unpack
from lstm_lab.tasks.readers.rows import RawTable, parse_table
from lstm_lab.utils.errors import UserError, unknown

Missing = Literal["drop", "ffill", "interpolate", "mask"]
Gaps = Literal["refuse", "keep"]
Kind = Literal["numbers", "words", "mixed", "empty"]

# How programs write a number that is missing, in lower case: R, pandas, SQL, Excel, SAS, UCI.
MISSING = ("", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "?", "-", ".")
_WORDS = {"tab": "\t", "space": " "}
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.I)
# Numbers in the notation of other countries, which are read only if the user says so.
_FOREIGN = re.compile(r"[+-]?(\d+,\d+|\d{1,3}([., '\u00a0\u202f]\d{3})+([.,]\d+)?)")


@dataclass(frozen=True, kw_only=True)
class RowFormat:
    """How the rows of a user's table are written.

    Attributes:
      delimiter: what separates two values: one character, `tab` or `space`; None finds a comma,
        semicolon, tab or bar.

    Example:
      Text("reviews.tsv", ("bad", "good"), delimiter="tab").mark == chr(9)
    """

    delimiter: str | None = None

    @property
    def mark(self) -> str | None:
        """The delimiter as a character, or None."""
        # As words, because the command line strips white space from a value.
        return _WORDS.get(self.delimiter or "", self.delimiter)

    def check_format(self) -> None:
        """Raises ValueError for a delimiter that is not one character."""
        mark = self.mark
        if mark is not None and (len(mark) != 1 or mark in '"\r\n' or mark.isalnum()):
            raise ValueError(
                f"delimiter: got {self.delimiter!r}, expected tab, space, or one character such as "
                "a comma or semicolon"
            )


@dataclass(frozen=True, kw_only=True)
class TableFormat(RowFormat):
    """How a user's table of numbers is written.

    Attributes:
      decimal: the mark before the decimals, a point or a comma.
      thousands: the mark between groups of three digits, such as a comma, or `space`; None allows
        no mark.
      missing: what to do with a missing number: `drop` leaves its row out (in a series, all windows
        with it), `ffill` repeats the value before, `interpolate` draws a line between its neighbors
        (so a gap knows what follows it), `mask` gives the mean and adds an input that says so. None
        refuses missing numbers.

    Example:
      Series("power.csv", ("load",), ("load",), decimal=",", missing="ffill").missing
    """

    decimal: Literal[".", ","] = "."
    thousands: str | None = None
    missing: Missing | None = None

    def check_format(self) -> None:
        """Raises ValueError for marks that exclude each other."""
        super().check_format()
        if self.thousands is not None and self.thousands not in (",", ".", "space", "'", "_"):
            raise ValueError(
                f"thousands: got {self.thousands!r}, expected a comma, a point, ', _ or space"
            )
        if self.decimal == self.thousands:
            raise ValueError(f"decimal, thousands: got {self.decimal!r} for both")

    @property
    def grouping(self) -> str | None:
        """A pattern of the mark between groups of digits, or None."""
        if self.thousands == "space":
            return "[ \u00a0\u202f]"
        return re.escape(self.thousands) if self.thousands else None


def read_table(path: Path, form: TableFormat, header: bool = True) -> RawTable:
    """Reads a table from a file: delimited text, also inside .gz or .zip, or Parquet.

    Args:
      path: the file.
      form: how it is written.
      header: whether the first row has the names of the columns.

    Raises:
      UserError: if the file is missing, damaged or malformed; the message names the line.

    Example:
      read_table(Path("power.csv"), TableFormat(decimal=",")).names  # ["when", "load"]
    """
    what = f"data: {path}"
    content = read_bytes(path)
    if is_parquet(content) or path.suffix == ".parquet":
        return _from_parquet(what, content)
    text = decode(unpack(content, what, path.name), what)
    if not text.strip():
        raise UserError(f"{what} is empty")
    return parse_table(what, text, form.mark, header, form.decimal)


def _from_parquet(what: str, content: bytes) -> RawTable:
    """Returns a Parquet file as text, so that all later steps are those of a CSV file."""
    import pandas as pd

    try:
        from pyarrow import ArrowException
    except ImportError:
        raise UserError(f"{what} needs pyarrow: pip install 'lstm-lab[parquet]'") from None
    try:
        frame = pd.read_parquet(io.BytesIO(content), engine="pyarrow")
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{what} is a damaged Parquet file: {reason}") from None
    if frame.empty:
        raise UserError(f"{what} has no rows")
    # A named index, such as the times of a series, is a column of the file.
    if frame.index.name is not None:
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.has_duplicates:
        raise UserError(f"{what} has a column more than once; give every column its own name")
    text = frame.astype(object).map(_as_text)
    text.index = pd.RangeIndex(1, len(text) + 1)
    return RawTable(what, text, unit="row")


def _as_text(value: Any) -> str:
    import pandas as pd

    if value is None or (not isinstance(value, list | np.ndarray) and pd.isna(value)):
        return ""
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value).strip()


def is_missing(values: Iterable[str]) -> np.ndarray:
    """Returns which values of a column of numbers are missing [N], by their spelling."""
    return np.array([value.lower() in MISSING for value in values], bool)


def kind_of(values: Sequence[str], form: TableFormat) -> Kind:
    """Returns what a column holds: numbers, words, both (mixed), or nothing.

    Args:
      values: the column. Values that are missing do not count.
      form: how numbers are written.
    """
    filled = [v for v in values if v.lower() not in MISSING]
    if not filled:
        return "empty"
    pattern = _number_pattern(form)
    numbers = sum(bool(pattern.fullmatch(v) or _INFINITE.fullmatch(v)) for v in filled)
    if numbers == len(filled):
        return "numbers"
    foreign = sum(bool(_FOREIGN.fullmatch(v)) for v in filled)
    # A column of 1.234,5 is no column of words: leaving it out would hide a wrong option. Of a
    # column of numbers with a few words, one value is wrong rather than all others.
    return "mixed" if 2 * numbers >= len(filled) or foreign == len(filled) else "words"


def _number_pattern(form: TableFormat) -> re.Pattern[str]:
    # [0-9] and not \d, which also matches digits of other scripts.
    whole = "[0-9]+"
    if form.grouping:
        whole = rf"(?:[0-9]{{1,3}}(?:{form.grouping}[0-9]{{3}})+|[0-9]+)"
    point = re.escape(form.decimal)
    return re.compile(rf"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?")


# Models compute in float32, where a larger number is infinite.
LARGEST = float(np.finfo(np.float32).max)


def numbers(table: RawTable, columns: Sequence[str], form: TableFormat) -> np.ndarray:
    """Returns columns as numbers [N,D], float64, with NaN where a value is missing.

    Args:
      table: the table.
      columns: the columns, in this order.
      form: how numbers are written, and whether they may be missing.

    Raises:
      UserError: for a column that is missing, a value that is not a finite number, or a missing
        value without a policy; the message names line and column.
    """
    table.require(columns)
    # float64: a series with a large mean keeps its digits until the caller subtracts the mean.
    result = np.empty((len(table.frame), len(columns)))
    for k, column in enumerate(columns):
        result[:, k] = _column(table, column, form)
    return result


def _column(table: RawTable, column: str, form: TableFormat) -> np.ndarray:
    values, lines = list(table.frame[column]), table.frame.index
    missing = is_missing(values)
    if missing.any() and form.missing is None:
        place = int(missing.argmax())
        raise UserError(
            f"{table.place(lines[place], column)} has {values[place]!r}, which is not a number; "
            "fill it, or say what to do with missing values: task.missing=drop, mask, or in a "
            "series ffill, interpolate"
        )
    pattern = _number_pattern(form)
    result = np.full(len(values), np.nan)
    for place in np.flatnonzero(~missing).tolist():
        value = values[place]
        if not pattern.fullmatch(value):
            raise UserError(
                f"{table.place(lines[place], column)}: got {value!r}, expected a finite number"
                f"{_hint(value, form)}"
            )
        if form.grouping:
            value = re.sub(form.grouping, "", value)
        result[place] = float(value.replace(form.decimal, "."))
    large = np.abs(result) > LARGEST
    if large.any():
        place = int(large.argmax())
        raise UserError(
            f"{table.place(lines[place], column)}: got {values[place]!r}, expected a finite number "
            f"up to {LARGEST:.2g}, the largest of float32"
        )
    return result


def _hint(value: str, form: TableFormat) -> str:
    """Returns which option would read a number in another notation."""
    if not _FOREIGN.fullmatch(value) or (form.decimal, form.thousands) != (".", None):
        return ""
    return " (for decimal commas set task.decimal=, and for groups of digits task.thousands)"


def fill(values_ND: np.ndarray, policy: Missing | None) -> np.ndarray:
    """Returns numbers with missing ones filled along the rows.

    Args:
      values_ND: numbers, NaN where they are missing.
      policy: `ffill` or `interpolate`; any other one leaves the numbers as they are.

    Returns:
      The numbers. NaN stays before the first known value of a column, where nothing can be
      repeated.
    """
    from pandas import DataFrame

    if policy not in ("ffill", "interpolate"):
        return values_ND
    frame = DataFrame(values_ND)
    return np.asarray(frame.ffill() if policy == "ffill" else frame.interpolate())


def resolve_columns(names: Sequence[str], columns: Sequence[str], setting: str) -> tuple[str, ...]:
    """Returns the columns that a user named; names may hold commas and brackets.

    Args:
      names: the names, split at commas.
      columns: the columns of the table.
      setting: the option, for errors.

    Raises:
      UserError: for a name that is no column.
    """

    def plain(name: str) -> str:
        return re.sub(r"\s*,\s*", ",", name)

    # `wind, max (m/s)` without quotes is one column, and not the columns `wind` and `max (m/s)`.
    joined = ",".join(names)
    whole = [c for c in columns if plain(c) in (joined, f"({joined})", f"[{joined}]")]
    if len(whole) == 1:
        return (whole[0],)
    for name in names:
        if name not in columns:
            raise unknown(setting, name, [c for c in columns if c])
    return tuple(names)


def standardization(values_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of each column [D]; NaN values do not count.

    The scale of a constant column is the size of its value, so that it becomes 0, and later changes
    are relative to it: they do not depend on the unit.

    Args:
      values_ND: the training rows.
    """
    # By max and min: the mean of equal decimals such as 0.1 differs from them in its last digit,
    # and the standard deviation is then 1e-17 and not 0.
    least_D = np.nanmin(values_ND, 0)
    constant = np.nanmax(values_ND, 0) == least_D
    mean_D = np.where(constant, least_D, np.nanmean(values_ND, 0))
    size_D = np.where(least_D == 0, 1.0, np.abs(least_D))
    return mean_D, np.where(constant, size_D, np.nanstd(values_ND, 0))
