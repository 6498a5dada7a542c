"""Columns of times: order, doubled times and gaps."""

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
