"""Rows of a series in the order of time: columns of numbers, gaps, windows without holes.

In: a `RawTable`, and options that say what its times and missing numbers mean. Out: arrays, and
which windows of them are whole. `datasets/forecasting.py` makes examples of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lstm_lab.tasks.readers.rows import RawTable, names_text, parse_table
from lstm_lab.tasks.readers.tables import Gaps, TableFormat, fill, kind_of, numbers
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say


@dataclass(frozen=True, kw_only=True)
class SeriesFormat(TableFormat):
    """How a user's table of a series is written.

    Attributes:
      header: whether the first row has the names of the columns; without, they are called 1, 2, ...
      time: the column of times, which must be in order, without doubles and gaps. None checks
        nothing; the run then notes what is wrong with the only column of ISO dates.
      sort: whether to sort the rows by time.
      gaps: whether to refuse missing times, or to keep the rows: no window then crosses a gap.

    Example:
      SeriesFormat(time="when", sort=True, missing="ffill").gaps  # "refuse"
    """

    header: bool = True
    time: str | None = None
    sort: bool = False
    gaps: Gaps = "refuse"


class Rows(NamedTuple):
    """Rows of a series in the order of time.

    Attributes:
      values: the columns that the model reads [N,D], float64, NaN where a number is missing.
      starts: which rows follow a gap of time [N].
      lines: the line of each row in its file [N].
    """

    values: np.ndarray
    starts: np.ndarray
    lines: np.ndarray


def series_rows(table: RawTable, columns: Sequence[str], form: SeriesFormat) -> Rows:
    """Returns the rows of a table in the order of time, with holes filled as `missing` says.

    Args:
      table: the table.
      columns: the columns to read.
      form: how it is written.

    Raises:
      UserError: for a missing column or number, or times that are not in order; the message names
        the line.
    """
    starts = np.zeros(len(table.frame), bool)
    if form.time is not None or form.sort:
        from lstm_lab.tasks.readers.times import find_times, ordered

        time = form.time or find_times(table)
        if time is None:
            raise UserError(f"task.sort: {table.what} has no column of dates; set task.time")
        table, gaps = ordered(table, time, form.sort, form.gaps)
        starts[gaps] = True
    values_ND = fill(numbers(table, columns, form), form.missing)
    return Rows(values_ND, starts, np.asarray(table.frame.index))


def whole_windows(starts_N: np.ndarray, missing_N: np.ndarray, span: int) -> np.ndarray:
    """Returns which windows of `span` rows cross no gap and have no row with a hole [N-span+1].

    Args:
      starts_N: which rows follow a gap.
      missing_N: which rows miss a number.
      span: length of a window.
    """
    # The first row of a window may follow a gap.
    crossing = any_within(starts_N, span - 1)[1:]
    return np.asarray(~crossing & ~any_within(missing_N, span))


def any_within(marks_N: np.ndarray, size: int) -> np.ndarray:
    """Returns whether one of `size` rows is marked, from each row on [N-size+1].

    Args:
      marks_N: which rows are marked.
      size: number of rows, 1 or more.
    """
    # Differences of sums: a look at all rows of all windows would take their product.
    sums = np.concatenate([[0], np.cumsum(marks_N)])
    return np.asarray(sums[size:] > sums[: len(sums) - size])


def numeric_columns(table: RawTable, form: SeriesFormat, targets: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of numbers.

    Args:
      table: the table.
      form: how it is written.
      targets: columns that must be among them.

    Raises:
      UserError: if there are none, if a column has numbers with other values among them, or if no
        targets are named and the last column has words.
    """
    kinds = {
        name: kind_of(list(table.frame[name]), form)
        for name in table.names
        if name and name != form.time
    }
    columns = tuple(name for name, kind in kinds.items() if kind == "numbers")
    wrong = [name for name, kind in kinds.items() if kind == "mixed" or name in targets]
    # The error names the value that is not a number; values that are missing are found later.
    numbers(table, wrong, replace(form, missing=form.missing or "drop"))
    last = next(reversed(kinds), "")
    if columns and not targets and kinds[last] == "words":
        # Another column in its place would be forecast in silence.
        raise UserError(
            f"{table.what} ends in the column {last!r}, which has words, and a series forecasts "
            f"its last column; write its values as numbers, or set task.targets, such as "
            f"--config.task.targets='{columns[-1]}'"
        )
    if not columns:
        raise UserError(
            f"{table.what} line 2 has no numbers, expected a header and rows of numbers; the "
            f"columns are {names_text(table.names)}"
        )
    return columns


def input_table(lines: Iterable[str], form: SeriesFormat) -> RawTable:
    """Returns the table of an input to predict; says if its times are not in order, or have gaps.

    Args:
      lines: the table, written as the training file.
      form: how it is written.

    Raises:
      UserError: for an input without lines, or a malformed table.
    """
    text = "\n".join(lines)
    if not text.strip():
        raise UserError("input: got nothing, expected a table with a header")
    table = parse_table("input", text, form.mark, form.header, form.decimal)
    for note in _time_notes(table, form):
        say(f"note: {note}")
    return table


def _time_notes(table: RawTable, form: SeriesFormat) -> list[str]:
    """Returns what is wrong with the times of a table whose time column nobody named."""
    from lstm_lab.tasks.readers.times import find_times, ordered

    # With a name, and to sort, `series_rows` checks them.
    checked = form.time is not None or form.sort or table.frame.empty
    time = None if checked else find_times(table)
    if time is not None:
        try:
            ordered(table, time, sort=False, gaps="refuse")
        except UserError as error:
            # Nobody said that this column orders the rows, so they are taken as they are.
            return [str(error)]
    return []


def describe_columns(table: RawTable, columns: Sequence[str], form: SeriesFormat) -> dict[str, Any]:
    """Returns what a file has, for people: `reads`, `left_out` and `notes` of `Dataset.source`.

    Args:
      table: the table.
      columns: the columns that are read.
      form: how it is written.
    """
    from lstm_lab.tasks.readers.times import find_times

    left_out = {name: "not used" for name in table.names if name not in columns}
    for name in left_out:
        kind = kind_of(list(table.frame[name]), form) if name else "no name"
        left_out[name] = {"numbers": "not used", "mixed": "not only numbers"}.get(kind, kind)
    time = form.time or find_times(table)
    if time is not None:
        left_out[time] = "times"
    notes = _time_notes(table, form)
    return {"reads": list(columns), "left_out": left_out, "notes": notes}
