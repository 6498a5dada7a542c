"""Columns of times: whether the rows of a series are in order, without doubles and gaps.

In: a `RawTable` and the name of its time column. Out: the table, sorted on request, and the rows
before which times are missing. Only `Series` reads times: windows need equal steps.
"""

from __future__ import annotations

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
      UserError: for a value that is no time, doubled times, times that are not in order, or gaps.
    """
    table.require([column])
    times = times_of(table, column)
    if sort:
        # Stable: equal times keep the order of the file, for the message about them.
        order = np.argsort(times.to_numpy(), kind="stable")
        table, times = replace(table, frame=table.frame.iloc[order]), times.iloc[order]
    steps = np.diff(times.to_numpy()).astype("timedelta64[ns]").astype(np.int64)
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
      UserError: for a value that is no time; the message names line and column.
    """
    times = _parsed(table, column, "ISO8601")
    if times.isna().any():
        # 16/12/2006 and 12/16/2006: the first number above 12 decides, for all rows.
        attempts = [_parsed(table, column, None, day_first) for day_first in (False, True)]
        times = min(attempts, key=lambda parsed: int(parsed.isna().sum()))
    if times.isna().any():
        place = int(times.isna().to_numpy().argmax())
        value = table.frame[column].iloc[place]
        raise UserError(
            f"{table.place(table.frame.index[place], column)}: got {value!r}, expected a time such "
            "as 2024-01-31 or 2024-01-31 18:00"
        )
    return times


def _parsed(table: RawTable, column: str, form: str | None, day_first: bool = False) -> pd.Series:
    with warnings.catch_warnings():
        # pandas warns that it guesses the form of each value; such columns are refused anyway.
        warnings.simplefilter("ignore", UserWarning)
        times = pd.to_datetime(
            table.frame[column], format=form, errors="coerce", dayfirst=day_first, utc=True
        )
    # With time zones, `to_numpy` returns objects.
    return times.dt.tz_localize(None)
