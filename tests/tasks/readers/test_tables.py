"""Columns of numbers: notations, missing values, names of columns, constant columns, Parquet."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lstm_lab.tasks.readers.rows import parse_table
from lstm_lab.tasks.readers.tables import (
    TableFormat,
    fill,
    kind_of,
    numbers,
    read_table,
    resolve_columns,
    standardization,
)
from lstm_lab.utils.errors import UserError


def column(values, **form):
    """Returns values as numbers, or the message of the error."""
    form = TableFormat(**form)
    lines = "".join(f'"{value}",z\n' for value in values)
    table = parse_table("a.csv", f"x,y\n{lines}", ",")
    return numbers(table, ["x"], form)[:, 0].tolist()


@pytest.mark.parametrize(
    ("values", "form", "expected"),
    [
        (["1", "-2.5", "+.5", "3.", "1e3", "2E-2"], {}, [1, -2.5, 0.5, 3, 1000, 0.02]),
        (["50,51", "-0,5"], {"decimal": ","}, [50.51, -0.5]),
        (["5,051", "1,234,567.5", "12"], {"thousands": ","}, [5051, 1234567.5, 12]),
        (["1.234,5"], {"decimal": ",", "thousands": "."}, [1234.5]),
        (
            ["1 234", "1\u202f234\u00a0567,5"],
            {"decimal": ",", "thousands": "space"},
            [1234, 1234567.5],
        ),
    ],
)
def test_numbers_are_read_in_the_declared_notation(values, form, expected):
    assert column(values, **form) == expected


@pytest.mark.parametrize(
    ("value", "form", "hint"),
    [
        ("5,051", {}, "for decimal commas set task.decimal"),
        ("50,51", {}, "for decimal commas set task.decimal"),
        ("1.5", {"decimal": ","}, ""),
        ("50,51", {"thousands": ","}, ""),
        ("inf", {}, ""),
        ("-Infinity", {}, ""),
        ("1e999", {}, ""),
        ("1_000", {}, ""),
        ("0x10", {}, ""),
        ("\u0663", {}, ""),
        ("12 kW", {}, ""),
    ],
)
def test_another_notation_is_refused_with_line_and_column(value, form, hint):
    message = rf"line 3 column 'x': got '{value}', expected a finite number.*{hint}"
    with pytest.raises(UserError, match=message):
        column(["1", value], **form)


@pytest.mark.parametrize("value", ["", "NA", "nan", "NaN", "null", "?", "#N/A"])
def test_a_missing_number_is_refused_without_a_policy(value):
    with pytest.raises(UserError, match=r"line 2 column 'x' has '.*', which is not a number; fill"):
        column([value, "1"])
    assert np.isnan(column([value, "1"], missing="drop")).tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["", "1", "NA"], "numbers"),
        (["1", "inf"], "numbers"),
        (["1", "2", "x"], "mixed"),
        (["1,5", "2,5"], "mixed"),
        (["5,051", "12"], "mixed"),
        (["01.02.2020", "02.02.2020"], "words"),
        (["2020-01-01"], "words"),
        (["a", "b", "1"], "words"),
        (["", ""], "empty"),
    ],
)
def test_the_kind_of_a_column(values, kind):
    assert kind_of(values, TableFormat()) == kind


def test_gaps_are_filled_from_the_past_or_between_neighbors():
    table = parse_table("a.csv", "x\n1\nNA\n\n4\nNA\n", ",")
    values = numbers(table, ["x"], TableFormat(missing="ffill"))
    assert fill(values, "ffill")[:, 0].tolist() == [1, 1, 1, 4, 4]
    assert fill(values, "interpolate")[:, 0].tolist() == [1, 2, 3, 4, 4]
    assert np.isnan(fill(values, "drop")).sum() == 3
    # Nothing comes before the first value.
    for policy in ("ffill", "interpolate"):
        assert np.isnan(fill(values[1:], policy))[:, 0].tolist() == [True, True, False, False]


@settings(max_examples=50, deadline=None)
@given(value=st.floats(-1e12, 1e12), count=st.integers(1, 300))
def test_a_constant_column_becomes_exactly_zero(value, count):
    values = np.full((count, 1), value)
    mean, std = standardization(values)
    assert ((values - mean) / std == 0).all()
    # A later change by a tenth is a tenth, in whatever unit.
    assume(value == 0 or abs(value) > 1e-300)
    assert (1.1 * value - mean) / std == pytest.approx(np.sign(value) * 0.1)


def test_other_columns_have_the_mean_and_deviation_of_numpy():
    values = np.random.default_rng(0).normal(3, 2, (50, 2))
    mean, std = standardization(values)
    assert (mean == values.mean(0)).all()
    assert (std == values.std(0)).all()


COLUMNS = ["T (degC)", "wind, max (m/s)", "a", "b", "(c)", '5" pipe']


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("T (degC)",), ("T (degC)",)),
        (("wind", "max (m/s)"), ("wind, max (m/s)",)),
        (("wind, max (m/s)", "a"), ("wind, max (m/s)", "a")),
        (("a", "b"), ("a", "b")),
        (("c",), ("(c)",)),
        (('5" pipe',), ('5" pipe',)),
    ],
)
def test_names_of_columns_may_hold_commas_and_brackets(names, expected):
    assert resolve_columns(names, COLUMNS, "task.targets") == expected
    with pytest.raises(UserError, match="task.targets: got 'T'"):
        resolve_columns(("T",), COLUMNS, "task.targets")


def test_a_parquet_file_is_read_as_the_same_table(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=3),
            "load": [0.1, math.nan, 1e-300],
            "kind": ["a", None, "c"],
        }
    )
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    table = read_table(path, TableFormat())
    assert table.frame["kind"].tolist() == ["a", "", "c"]
    assert table.frame["when"].iloc[0] == "2024-01-01T00:00:00"
    values = numbers(table, ["load"], TableFormat(missing="drop"))[:, 0]
    assert values[[0, 2]].tolist() == [0.1, 1e-300]
    with pytest.raises(UserError, match="row 2 column 'load' has ''"):
        numbers(table, ["load"], TableFormat())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is a damaged Parquet file"):
        read_table(path, TableFormat())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal, thousands: got ',' for both"),
        ({"delimiter": ""}, "delimiter: got ''"),
        ({"delimiter": "ab"}, "delimiter: got 'ab'"),
        ({"thousands": "x"}, "thousands: got 'x'"),
    ],
)
def test_marks_that_exclude_each_other_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        TableFormat(**form).check_format()
