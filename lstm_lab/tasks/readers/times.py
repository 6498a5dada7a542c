"""Columns of times: whether the rows of a series are in order, without doubles and gaps.

In: a `RawTable` and the name of its time column. Out: the table, sorted on request, and the rows
before which times are missing. Only `Series` reads times: windows need equal steps.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from lstm_lab.tasks.readers.rows import RawTable
from lstm_lab.tasks.readers.tables import Gaps
from lstm_lab.utils.errors import UserError

# A series is regular if this share of its steps equals the most frequent one. Days of work and
# other calendars are not, so their weekends are no gaps. Months and years differ by up to a tenth.
_REGULAR_SHARE, _TOLERANCE = 0.9, 0.11
_TWO_NUMBERS = re.compile(r"(\d{1,2})\D(\d{1,2})\D")


def find_times(table: RawTable) -> str | None:
    """Returns the only column of ISO 8601 dates or times; None without one, or with several.

    Args:
      table: the table.
    """
    found = [
        name
        for name in table.names
        if name
        # A number such as 2020 is a valid date, too. Dates have a dash.
        and "-" in str(table.frame[name].iloc[0])[4:]
        and str(table.frame[name].iloc[0])[:4].isdigit()
        and not _parsed(table, name, "ISO8601").isna().any()
    ]
    return found[0] if len(found) == 1 else None


def ordered(table: RawTable, column: str, sort: bool, gaps: Gaps) -> tuple[RawTable, np.ndarray]:
    """Checks the times of a table.

    Args:
      table: the table.
      column: its column of times.
      sort: whether to sort the rows by time.
      gaps: whether to refuse steps that are longer than the others of a regular series.

    Returns:
      The table, and the places of rows before which times are missing; none without gaps.

    Raises:
      UserError: for a value that is no time, dates that can be read in two ways, doubled times,
        times that are not in order, or gaps.
    """
    table.require([column])
    times = times_of(table, column)
    if sort:
        # Stable: equal times keep the order of the file, for the message about them.
        order = np.argsort(times.to_numpy(), kind="stable")
        table, times = replace(table, frame=table.frame.iloc[order]), times.iloc[order]
    steps = _steps(times)
    lines, shown = table.frame.index, table.frame[column]
    back = np.flatnonzero(steps <= 0)
    if len(back):
        k = int(back[0]) + 1
        now, before = shown.iloc[k], shown.iloc[k - 1]
        if steps[k - 1] == 0:
            raise UserError(
                f"{table.place(lines[k], column)}: {now} occurs twice (also in {table.unit} "
                f"{lines[k - 1]}); keep one row for each time"
            )
        raise UserError(
            f"{table.place(lines[k], column)}: {now} comes after {before}; sort the rows, or set "
            "task.sort=true"
        )
    missing = _gaps(steps)
    if len(missing) and gaps == "refuse":
        k = int(missing[0])
        raise UserError(
            f"{table.place(lines[k], column)}: {shown.iloc[k]} follows {shown.iloc[k - 1]}, so "
            f"{_count(len(missing))}; add the missing times, or set task.gaps=keep (no window "
            "crosses a gap)"
        )
    return table, missing


def _count(gaps: int) -> str:
    return "rows are missing between them" if gaps == 1 else f"rows are missing ({gaps} gaps)"


def _gaps(steps: np.ndarray) -> np.ndarray:
    """Returns the places of rows after a longer step, if the steps are regular."""
    if len(steps) < 3:
        return np.array([], int)
    typical = float(np.median(steps))
    regular = np.abs(steps - typical) <= _TOLERANCE * typical
    if regular.mean() < _REGULAR_SHARE:
        return np.array([], int)
    return np.flatnonzero(steps > 1.5 * typical) + 1


def times_of(table: RawTable, column: str) -> pd.Series:
    """Returns a column as times, all in one form.

    Args:
      table: the table.
      column: the column.

    Raises:
      UserError: for a value that is no time, or dates that can be read in two ways; the message
        names line and column.

    Example:
      times_of(table, "when").iloc[0]  # Timestamp("2006-12-16"), also for 16/12/2006
    """
    times = _parsed(table, column, "ISO8601")
    if times.isna().any():
        times = _not_iso(table, column)
    if times.isna().any():
        place = int(times.isna().to_numpy().argmax())
        value = table.frame[column].iloc[place]
        raise UserError(
            f"{table.place(table.frame.index[place], column)}: got {value!r}, expected a time such "
            "as 2024-01-31 or 2024-01-31 18:00"
        )
    return times


def _not_iso(table: RawTable, column: str) -> pd.Series:
    """Returns a column as times whose first number is the month in all rows, or the day in all.

    A number above 12 decides it. Otherwise the rows decide: a file has its rows in the order of
    time, and its steps are equal. Without an answer, the dates are refused, since the wrong one
    would put the rows into another order.
    """
    readings = [_read_as(table, column, day_first) for day_first in (False, True)]
    month_first, day_first = readings
    if any(times.isna().any() for times in readings):
        return min(readings, key=lambda times: int(times.isna().sum()))
    steps = [_steps(times) for times in readings]
    if np.array_equal(steps[0], steps[1]):
        return month_first
    # A file with its newest row first is in order, too.
    in_order = [bool((step >= 0).all() or (step <= 0).all()) for step in steps]
    gaps = [_gaps(np.abs(step)).tolist() for step in steps]
    regular = [good and not places for good, places in zip(in_order, gaps, strict=True)]
    for evidence in (regular, in_order):
        if sum(evidence) == 1:
            return readings[evidence.index(True)]
    same_direction = np.array_equal(steps[0] > 0, steps[1] > 0)
    if all(in_order) and same_direction and gaps[0] == gaps[1]:
        # Both give the same rows and the same gaps, and nothing else is taken from the times.
        return month_first
    place = int((month_first != day_first).to_numpy().argmax())
    month, day = (f"{times.iloc[place]:%Y-%m-%d}" for times in readings)
    raise UserError(
        f"{table.place(table.frame.index[place], column)}: {table.frame[column].iloc[place]} may "
        f"be {month} or {day}, and the order of the rows does not tell; write the dates as {month}"
    )


def _read_as(table: RawTable, column: str, day_first: bool) -> pd.Series:
    """Returns the times of a column for one order of month and day, NaT where it cannot be."""
    times = _parsed(table, column, None, day_first)
    # Value by value, pandas takes the other order where the asked one is impossible. A year in
    # front is followed by the month everywhere.
    texts = [str(value) for value in table.frame[column]]
    pairs = [_TWO_NUMBERS.match(text) for text in texts]
    months = [int(pair[2 if day_first else 1]) if pair else 0 for pair in pairs]
    impossible = np.array([12 < month < 32 for month in months])
    if day_first:
        impossible |= [text[:4].isdigit() for text in texts]
    return times.mask(impossible)


def _steps(times: pd.Series) -> np.ndarray:
    return np.diff(times.to_numpy()).astype("timedelta64[ns]").astype(np.int64)


def _parsed(table: RawTable, column: str, form: str | None, day_first: bool = False) -> pd.Series:
    with warnings.catch_warnings():
        # pandas warns that it guesses the form of each value; such columns are refused anyway.
        warnings.simplefilter("ignore", UserWarning)
        times = pd.to_datetime(
            table.frame[column], format=form, errors="coerce", dayfirst=day_first, utc=True
        )
    # With time zones, `to_numpy` returns objects.
    return times.dt.tz_localize(None)
