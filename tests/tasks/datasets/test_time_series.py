"""Labeled series: labels, notations, missing values, and series to predict."""

import numpy as np
import pandas as pd
import pytest

from lstm_lab.tasks.datasets.time_series import whole_label
from lstm_lab.utils.errors import UserError
from tests.helpers.tables import load, task_of, write


def waves(labels, separator=",", numbers=("0.5", "-1.25", "3")):
    return [separator.join([labels[k % len(labels)], *numbers, str(k)]) for k in range(30)]


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "   ", ", "])
def test_labels_of_series_are_never_rounded(tmp_path, separator):
    path = write(tmp_path, "a.txt", *waves(("1000001", "1000002"), separator))
    task, data = load("waves", file=path)
    assert task.labels == ("1000001", "1000002")
    assert data.splits["train"].x.shape == (20, 4, 1)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1.0000000e+00", "1"),
        ("-2.0", "-2"),
        ("1000001.0", "1000001"),
        ("1.5", "1.5"),
        ("1.10", "1.10"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("a", "a"),
    ],
)
def test_a_whole_label_loses_its_decimals_only(text, label):
    assert whole_label(text) == label


def test_series_with_decimal_commas_need_the_option(tmp_path):
    path = write(tmp_path, "a.csv", *waves(("a", "b"), ";", ("0,5", "-1,25", "3,0")))
    with pytest.raises(UserError, match="line 1 has comma and semicolon"):
        task_of("waves", file=path)
    task, data = load("waves", file=path, decimal=",")
    assert data.preprocessing["length"] == 4
    assert data.splits["train"].x[0, :3, 0].tolist() == [0.5, -1.25, 3.0]
    (x,) = task.read_inputs(["0,5;1,5;2,5;3"], data.preprocessing)
    assert x[:, 0].tolist() == [0.5, 1.5, 2.5, 3.0]


def test_a_series_to_predict_may_have_its_label_and_no_other_length(tmp_path):
    path = write(tmp_path, "a.txt", *waves(("a", "2"), " "))
    task, data = load("waves", file=path)
    plain, labeled, number = (
        next(task.read_inputs([line], data.preprocessing))
        for line in ("1 2 3 4", "a 1 2 3 4", "2 1 2 3 4")
    )
    np.testing.assert_array_equal(plain, labeled)
    np.testing.assert_array_equal(plain, number)
    for line, message in (
        ("1 2 3", "got 3 values, expected 4 as in training"),
        ("1 1 2 3 4", "got 5 values, expected 4 as in training"),
        ("nan 1 2 3", "got 'nan 1 2 3', expected numbers"),
        ("1 2 3 inf", "expected numbers"),
    ):
        with pytest.raises(UserError, match=message):
            list(task.read_inputs([line], data.preprocessing))


@pytest.mark.parametrize("names", ["kind,t1,t2,t3,t4", "kind,0.1,0.2,0.3,0.4"])
def test_a_header_of_an_input_is_recognized_and_no_series_is_lost(tmp_path, names):
    path = write(tmp_path, "a.csv", names, *waves(("1", "2")))
    task, data = load("waves", file=path, header=True)
    series = ["1,2,3,4", "2,5,6,7,8"]
    for header in ([], [names], [names.partition(",")[2]]):
        inputs = list(task.read_inputs([*header, *series], data.preprocessing))
        assert [x[:, 0].tolist() for x in inputs] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    # A run of an earlier version did not record the names.
    (x,) = task.read_inputs(series[:1], {"outputs": task.labels, "length": 4})
    assert x[:, 0].tolist() == [1, 2, 3, 4]
    # A wrong number is an error, and no header.
    with pytest.raises(UserError, match="input line 1: got '1,2,x,4', expected numbers"):
        list(task.read_inputs(["1,2,x,4", *series], data.preprocessing))


def test_a_parquet_file_has_the_same_series(tmp_path):
    frame = pd.DataFrame({"label": ["a", "b"] * 15, "t1": np.arange(30) / 7, "t2": range(30)})
    lines = [",".join(map(str, row)) for row in frame.itertuples(index=False)]
    frame.to_parquet(tmp_path / "a.parquet")
    _, expected = load("waves", file=write(tmp_path, "a.csv", *lines))
    _, data = load("waves", file=str(tmp_path / "a.parquet"))
    np.testing.assert_array_equal(data.splits["test"].x, expected.splits["test"].x)
    np.testing.assert_array_equal(data.splits["test"].y, expected.splits["test"].y)


def test_missing_values_of_series(tmp_path):
    lines = waves(("a", "b"))
    lines[5] = "a,1,NaN,3,4"
    path = write(tmp_path, "a.csv", *lines)
    with pytest.raises(UserError, match="line 6 column '3' has 'NaN'"):
        load("waves", file=path, labels=("a", "b"))
    sizes = {}
    for missing in ("drop", "ffill", "interpolate", "mask"):
        task, data = load("waves", file=path, missing=missing)
        sizes[missing] = sum(len(part.x) for part in data.splits.values())
        assert data.splits["train"].x.shape[2] == task.inputs.features
        if missing == "interpolate":
            assert [1, 2, 3, 4] in np.concatenate([p.x for p in data.splits.values()])[
                ..., 0
            ].tolist()
    lines[5] = "a,,2,3,4"
    path = write(tmp_path, "a.csv", *lines)
    with pytest.raises(UserError, match="line 6 begins with a missing number"):
        load("waves", file=path, missing="ffill")
    assert sizes == {"drop": 29, "ffill": 30, "interpolate": 30, "mask": 30}
