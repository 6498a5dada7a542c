"""Delimited text as rows: quotes, delimiters, headers; compared with csv.writer and pandas."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.tasks.readers.rows import DELIMITERS, find_delimiter, parse_table, split_rows
from lstm_lab.utils.errors import UserError

# All that may stand in a value: delimiters, quotes, line breaks, U+2028 and U+0085, a single \r.
VALUES = st.text(st.sampled_from('ab,;\t|"\n\r \u2028\x85é春'), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(2, 4).flatmap(
        lambda width: st.lists(
            st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=5
        )
    ),
    delimiter=st.sampled_from(list(DELIMITERS)),
    everything=st.booleans(),
)
def test_what_csv_writes_is_read_back(rows, delimiter, everything):
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    expected = []
    for row in rows:
        before = file.getvalue()
        writer.writerow(row)
        # Values are stripped, and a record of spaces alone is an empty line.
        if file.getvalue()[len(before) :].strip(" \r\n"):
            expected.append((before.count("\n") + 1, [value.strip() for value in row]))
    assert split_rows("a.csv", file.getvalue(), delimiter) == expected


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6),
    delimiter=st.sampled_from(list(DELIMITERS)),
)
def test_plain_numbers_are_those_that_pandas_reads(rows, delimiter):
    lines = ["x,y,z".replace(",", delimiter)]
    lines += [delimiter.join(repr(value) for value in row) for row in rows]
    text = "\n".join(lines) + "\n"
    table = parse_table("a.csv", text)
    reference = pd.read_csv(io.StringIO(text), sep=delimiter)
    pd.testing.assert_frame_equal(
        table.frame.astype(float).reset_index(drop=True), reference.astype(float)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('x,y\n1,2\n"a,1\nb,2\n', "line 3 has a quote that does not enclose a whole value"),
        ('x,y\n1,2\n"a\nb,1\n"c,2\n', "line 3 has a quote"),
        ('x,y\n"a"b,1\n', "line 2 has a quote"),
        ('x,y\na"b"c,1\n', "line 2 has a quote"),
        ('x,y\na, "b"\n', "line 2 has a quote"),
        ('x,y\n"a\n\nb",1\n"c,2\n', "line 5 has a quote"),
        (
            "x,y\n1,2,3\n",
            "line 2 has 3 values, expected 2 as in the header; the delim",
        ),
        ("x,y\n1,2\n1\n", "line 3 has 1 values, expected 2 as in the header"),
        ("x,y\n1,2\nx,y\n1,2\n", "line 3 repeats line 1, the header"),
        ("x,x\n1,2\n", "line 1 has the column 'x' more than once"),
        ("2020-01-01,24.9\n2020-02-01,25.1\n", "line 1 has '24.9' where the name of a column is"),
        ("x,y\n", "has no rows below its header"),
        ("a;b,c\n1;2,3\n", "line 1 has comma and semicolon, and more than one of them splits"),
        ("a;b,c\n1;2,3\n1\n", "has rows of different lengths, whichever of comma and semicolon"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(text, message):
    with pytest.raises(UserError, match=message):
        parse_table("data: a.csv", text)


@pytest.mark.parametrize(
    ("text", "decimal", "delimiter"),
    [
        ("a,b\n1,2\n", ".", ","),
        ("a;b\n1,5;2\n", ".", ";"),
        ("a\tb, c\n1\t2\n", ".", "\t"),
        ('"a;b",c\n1,2\n', ".", ","),
        ("a|b\n1|2\n", ".", "|"),
        ("1,5;2,5\n1,0;2,0\n", ",", ";"),
        ('x,y\n"1,5","2,5"\n', ",", ","),
        ("1,5\n", ",", ";"),
        ("load\n1\n", ".", ","),
    ],
)
def test_the_delimiter_is_found(text, decimal, delimiter):
    assert find_delimiter("a.csv", text, decimal) == delimiter


def test_lines_end_at_line_feeds_only_and_have_any_length():
    long = "word " * 60_000
    table = parse_table("a.csv", f"x,y\na\rb\u2028c\x85d,1\n\n{long},2\n")
    assert list(table.frame.index) == [2, 4]
    assert table.frame["x"].tolist() == ["a\rb\u2028c\x85d", long.strip()]


def test_an_empty_line_of_a_single_column_is_a_missing_value():
    table = parse_table("a.csv", "\nload\n1\n\n3\n\n\n")
    assert table.frame["load"].to_dict() == {3: "1", 4: "", 5: "3"}


def test_columns_without_a_header_have_numbers_as_names():
    table = parse_table("a.csv", "1,2\n3,4\n", header=False)
    assert table.names == ["1", "2"]
    assert table.frame.loc[2, "1"] == "3"
