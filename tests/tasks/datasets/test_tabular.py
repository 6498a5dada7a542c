"""Tables: columns, missing values, and rows to predict."""

import numpy as np
import pytest

from lstm_lab.tasks import Table
from lstm_lab.tasks.source import describe_source, preprocessing_record
from lstm_lab.utils.errors import UserError
from tests.helpers.tables import load, task_of, write

LOANS = [f"{20 + k},{30.5 + k % 9},{'ab'[k % 2]},{('no', 'yes')[k % 2]}" for k in range(60)]
HEADER = "age,income,job,default"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("27,,a,no", "line 4 column 'income' has ''"),
        ("27,NA,a,no", "line 4 column 'income' has 'NA'"),
        ("27,inf,a,no", "line 4 column 'income': got 'inf'"),
        ("27,31 k,a,no", "line 4 column 'income': got '31 k'.*set task.categorical=income"),
        ("27,31,,no", "line 4 column 'job' has no value"),
        ("27,31,a,", "line 4 has nothing for column 'default', the label"),
        ("27,31,a,NA", "line 4 has the label 'NA': if it is missing"),
    ],
)
def test_a_missing_value_of_a_table_is_refused(tmp_path, row, message):
    path = write(tmp_path, "a.csv", HEADER, *LOANS[:2], row, *LOANS[2:])
    with pytest.raises(UserError, match=message):
        task_of("table", file=path)


def test_a_table_with_holes_is_read_if_a_policy_is_declared(tmp_path):
    holes = ["27,,a,no", "28,NA,b,yes", "29,31,,no"]
    path = write(tmp_path, "a.csv", HEADER, *LOANS, *holes)
    _, data = load("table", file=path, missing="drop")
    assert sum(len(part.x) for part in data.splits.values()) == 60
    task, data = load("table", file=path, missing="mask")
    x = np.concatenate([part.x for part in data.splits.values()])
    assert x.shape == (63, 3, 3 + 1 + 2 + 1)
    assert x[:, :, -1].sum(0).tolist() == [0, 2, 1]
    (row,) = task.read_inputs(["27,?,a"], data.preprocessing)
    assert row[1, 3] == 0
    assert row[1, -1] == 1
    with pytest.raises(ValueError, match="missing: got 'ffill', expected drop or mask"):
        Table("a.csv", ("a", "b"), 1, 1, missing="ffill")


def test_a_table_has_the_columns_that_the_user_names(tmp_path):
    lines = [f"{k},{row},9" for k, row in enumerate(LOANS)]
    path = write(tmp_path, "a.csv", f"id,{HEADER},", *[f"{line}" for line in lines])
    task, data = load("table", file=path, label="default", columns=("job", "age"))
    assert task.attributes == 2
    assert data.source["reads"] == ["job", "age"]
    assert data.source["left_out"] == {"id": "not used", "income": "not used", "": "no name"}
    assert describe_source(data) == [
        "data: reads job, age; predicts default; left out: id (not used), income (not used), "
        "a column (no name); 60 rows; examples: 39 train, 9 valid, 12 test"
    ]
    record = preprocessing_record(data)
    assert record["source"]["examples"] == {"train": 39, "valid": 9, "test": 12}
    # Numbers that are names.
    task = task_of("table", file=path, label="default", columns=("age",), categorical=("age",))
    assert task.categories == 60


def test_a_table_without_a_header_loses_no_row(tmp_path):
    path = write(tmp_path, "a.csv", *(f"x{k // 2},{'ab'[k % 2]}" for k in range(40)))
    with pytest.raises(UserError, match="line 1 has 'a', one of the labels, .*task.header=false"):
        task_of("table", file=path)
    task, data = load("table", file=path, header=False)
    assert (task.labels, data.source["rows_read"]) == (("a", "b"), 40)


@pytest.mark.parametrize(
    ("sales", "different"),
    [
        ([10 + k / 4 for k in range(60)], 60),
        ([str(10 + k / 4).replace(".", ",") for k in range(60)], 60),
        (range(1, 61), 60),  # whole, but hardly any comes twice
        ([k % 101 for k in range(400)], 101),
    ],
)
def test_a_label_of_quantities_is_refused(tmp_path, sales, different):
    path = write(tmp_path, "a.csv", "day;sales", *(f"{k};{v}" for k, v in enumerate(sales)))
    expected = f"task: the label 'sales' has {different} different numbers, expected classes; for "
    with pytest.raises(UserError, match=f"{expected}forecasts use series:{path}; if they are"):
        task_of("table", file=path)


def test_numbers_that_are_classes_are_labels(tmp_path, recwarn):
    # Grades such as 3.5, and as many numbered classes as data sets have.
    for classes in ([k / 2 for k in range(20)], range(60)):
        rows = [f"{k},{label}" for label in classes for k in range(2)]
        task, data = load("table", file=write(tmp_path, "a.csv", "a,grade", *rows))
        assert len(task.labels) == len(classes)
        assert "logistic_regression" in task.trivial_outputs(data)
    assert not [w for w in recwarn if "unique classes" in str(w.message)]
    many = [f"{k},{k / 4}" for k in range(60)]
    labels = tuple(str(k / 4) for k in range(60))
    assert task_of("table", file=write(tmp_path, "b.csv", "a,b", *many), labels=labels)


def test_rows_with_one_label_leave_the_linear_baseline_out(tmp_path):
    rows = [f"{k},{k % 5},{'yes' if k else 'no'}" for k in range(40)]
    path = write(tmp_path, "a.csv", "a,b,grade", *rows)
    for seed in range(20):
        task, data = load("table", file=path, split_seed=seed)
        if len(set(data.splits["train"].y)) == 1:
            break
    else:
        pytest.fail("the rare label is always in the training part")
    assert task.trivial_outputs(data) == {}


def test_a_row_to_predict_is_read_as_a_row_of_the_file(tmp_path):
    lines = [row.replace(",", ";") for row in LOANS]
    path = write(tmp_path, "a.csv", HEADER.replace(",", ";"), *lines)
    task, data = load("table", file=path)
    # Columns by name in any order, with or without header, label and training's delimiter.
    inputs = [
        ["20;30.5;a"],
        ["20,30.5,a"],
        ["20;30.5;a;no"],
        ["age;income;job;default", "20;30.5;a;no"],
        ["job,age,income", "a,20,30.5"],
    ]
    rows = [list(task.read_inputs(lines, data.preprocessing)) for lines in inputs]
    assert all(len(part) == 1 for part in rows)
    for part in rows[1:]:
        np.testing.assert_array_equal(part[0], rows[0][0])
    for wrong, message in (
        (["1;2"], r"got 2 values, expected 3 \(age, income, job\), or 4 with all columns"),
        (["age;income", "1;2"], "no column 'job'"),
        (["a,b;30.5;a"], "line 1 column 'age': got 'a,b'"),
        (["20;x;a"], "line 1 column 'income': got 'x'"),
        (["20;NA;a"], "line 1 column 'income' has 'NA'"),
    ):
        with pytest.raises(UserError, match=message):
            list(task.read_inputs(wrong, data.preprocessing))


def test_a_wrong_line_of_an_input_is_named_by_its_number(tmp_path):
    path = write(tmp_path, "t.csv", "a,b,label", *(f"{k},{k % 3},{'xy'[k % 2]}" for k in range(30)))
    task, data = load("table", file=path)
    with pytest.raises(UserError, match="line 3 column 'b' has 'NA'"):
        list(task.read_inputs(["1,2", "", "3,NA"], data.preprocessing))


def test_a_wrong_series_of_an_input_is_named_by_its_number(tmp_path):
    path = write(tmp_path, "w.csv", *(f"{k % 2},{k}.5,1,2" for k in range(30)))
    task, data = load("waves", file=path)
    with pytest.raises(UserError, match="input line 2: got '3,nan,1', expected numbers"):
        list(task.read_inputs(["1,2,3", "3,nan,1"], data.preprocessing))
    with pytest.raises(UserError, match="input line 3: got 2 values, expected 3"):
        list(task.read_inputs(["1,2,3", "", "3,1"], data.preprocessing))
