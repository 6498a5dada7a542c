"""Columns of times: order, doubled times and gaps."""

import pandas as pd
import pytest

from lstm_lab.tasks.readers.rows import parse_table
from lstm_lab.tasks.readers.times import find_times, ordered, times_of
from lstm_lab.utils.errors import UserError

HOURS = [f"2024-01-01 {hour:02d}:00" for hour in range(24)]


def table(times):
    return parse_table("a.csv", "when,load\n" + "".join(f"{t},{k}\n" for k, t in enumerate(times)))


def swapped(times, i, j):
    times = list(times)
    times[i], times[j] = times[j], times[i]
    return times


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (swapped(HOURS, 3, 4), "line 6 column 'when': 2024-01-01 03:00 comes after"),
        ([*HOURS[:3], HOURS[2], *HOURS[3:]], r"line 5 .* occurs twice \(also in line 4\)"),
        (HOURS[:5] + HOURS[6:], "line 7 .*06:00 follows 2024-01-01 04:00, so rows are missing"),
        ([*HOURS[:3], "soon"], "line 5 column 'when': got 'soon', expected a time"),
    ],
)
def test_times_that_are_not_in_order_are_refused(times, message):
    with pytest.raises(UserError, match=message):
        ordered(table(times), "when", sort=False, gaps="refuse")


def test_rows_are_sorted_on_request_and_keep_their_lines():
    result, gaps = ordered(table(swapped(HOURS, 3, 20)), "when", sort=True, gaps="refuse")
    assert result.frame["when"].tolist() == HOURS
    assert result.frame.index[3] == 22
    assert len(gaps) == 0


def test_a_gap_is_kept_on_request():
    _, gaps = ordered(table(HOURS[:5] + HOURS[6:]), "when", sort=False, gaps="keep")
    assert gaps.tolist() == [5]


@pytest.mark.parametrize(
    "times",
    [
        [f"{year}-{month:02d}-01" for year in (2023, 2024) for month in range(1, 13)],
        # Working days: weekends are no gaps.
        [f"2024-01-{day:02d}" for day in range(1, 31) if (day - 1) % 7 < 5],
        ["2020-01-01", "2020-01-09", "2020-02-01"],
    ],
)
def test_a_calendar_has_no_gaps(times):
    _, gaps = ordered(table(times), "when", sort=False, gaps="refuse")
    assert len(gaps) == 0


def test_days_before_months_are_recognized_by_the_whole_column():
    times = times_of(table(["10/12/2006", "16/12/2006"]), "when")
    assert times.dt.day.tolist() == [10, 16]
    assert times.dt.month.tolist() == [12, 12]


# What the readings of 01/02/2020 give, by the form of a table's dates.
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"


def written(dates, form):
    return [date.strftime(form) for date in dates]


@pytest.mark.parametrize("form", [DAY_FIRST, MONTH_FIRST, "%d.%m.%Y", "%d/%m/%y"])
@pytest.mark.parametrize(
    "dates",
    [
        pd.date_range("2020-01-01", periods=24, freq="MS"),
        pd.date_range("2020-01-01", periods=24, freq="MS")[::-1],
        # No number is above 12, and the steps are not equal.
        pd.DatetimeIndex([f"2020-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in (1, 4)]),
        pd.date_range("2020-02-01", periods=48, freq="h"),
        pd.date_range("2020-01-01", periods=40, freq="D"),
    ],
)
def test_the_order_of_the_rows_tells_days_from_months(dates, form):
    text = written(dates, f"{form} %H:%M")
    assert times_of(table(text), "when").tolist() == dates.tolist()
    if dates[0] < dates[-1]:
        assert len(ordered(table(text), "when", sort=True, gaps="refuse")[0].frame) == len(dates)


def test_dates_with_two_readings_and_no_order_are_refused():
    text = swapped(written(pd.date_range("2020-01-01", periods=12, freq="MS"), DAY_FIRST), 3, 5)
    message = "line 3 column 'when': 01/02/2020 may be 2020-01-02 or 2020-02-01"
    for sort in (False, True):
        with pytest.raises(UserError, match=message) as error:
            ordered(table(text), "when", sort=sort, gaps="keep")
        assert "\n" not in str(error.value)
        assert "write the dates as 2020-01-02" in str(error.value)


def test_readings_that_give_the_same_rows_are_not_refused():
    months = written(pd.date_range("2020-01-01", periods=12, freq="MS"), DAY_FIRST)
    result, gaps = ordered(table(months), "when", sort=True, gaps="refuse")
    assert result.frame["when"].tolist() == months
    assert len(gaps) == 0


def test_one_column_has_one_order_of_day_and_month():
    # pandas reads such values one by one, and takes the order that is possible for each.
    times = times_of(table(["1/2/2020 3 PM", "2/2/2020 3 PM", "13/2/2020 3 PM"]), "when")
    assert times.dt.month.tolist() == [2, 2, 2]
    years = times_of(table(["2020/01/02 3 PM", "2020/02/01 3 PM", "2020/01/03 3 PM"]), "when")
    assert years.dt.month.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (HOURS, "when"),
        (["d1", "d2"], None),
        (["2000-1", "2000-400"], None),
        (["2020", "2021"], None),
    ],
)
def test_only_iso_dates_are_found_without_a_name(times, found):
    assert find_times(table(times)) == found
