"""Tasks on users' tables: columns, missing values, files of splits, and inputs of predictions."""

from pathlib import Path

import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.config.load import load_spec
from lstm_lab.config.overrides import parse_overrides
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.tasks import Language, Series, Table, Text, Waves
from lstm_lab.tasks.datasets.time_series import whole_label
from lstm_lab.tasks.source import describe_source, preprocessing_record
from lstm_lab.utils.errors import UserError


def write(folder, name, *lines):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def task_of(name, **options):
    return build_spec({"task": {"name": name, **options}, "train": {"steps": 1}}).task


def load(name, **options):
    task = task_of(name, **options)
    return task, task.load(Path())


# ---- series

CLIMATE = [
    '"T (degC)","wind, max (m/s)",p',
    *(f"{20 + k % 5}.5,{k % 7},{900 + k}" for k in range(60)),
]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("T (degC)", ("T (degC)",)),
        ("wind, max (m/s)", ("wind, max (m/s)",)),
        ('"wind, max (m/s)",p', ("wind, max (m/s)", "p")),
        ('["wind, max (m/s)", p]', ("wind, max (m/s)", "p")),
        ("(T (degC),p)", ("T (degC)", "p")),
    ],
)
def test_targets_are_named_as_in_the_file(tmp_path, text, targets):
    task = {"name": "series", "file": write(tmp_path, "a.csv", *CLIMATE), "context": 4}
    config = {"task": task, "train": {"steps": 1}}
    spec = load_spec(config, parse_overrides(config, {"task.targets": text}))
    assert spec.task.targets == targets
    assert spec.task.inputs_of == ("T (degC)", "wind, max (m/s)", "p")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["temp,load", "1,", "2,3"], "line 2 column 'load' has ''"),
        (["temp,load", "1,NA", "2,3"], "line 2 column 'load' has 'NA'"),
        (["temp,load", '1,"5,051"', '2,"5,052"'], "line 2 column 'load': got '5,051'"),
        (["temp;load", "1;50,51", "2;54,68"], "line 2 column 'load': got '50,51'"),
        (["temp,load", "1,3", "2,three", "3,4"], "line 3 column 'load': got 'three'"),
        (["load,temp", "NA,1", "nan,2"], None),
    ],
)
def test_no_other_column_is_forecast_than_the_last_one_of_numbers(tmp_path, lines, message):
    path = write(tmp_path, "a.csv", *lines)
    if message is None:
        # A column without any number is none of numbers.
        assert task_of("series", file=path).targets == ("temp",)
        return
    with pytest.raises(UserError, match=message):
        load("series", file=path, context=1)


def series_with_holes(tmp_path, **options):
    values = [str(k % 7) for k in range(80)]
    values[10] = values[50] = ""
    rows = [f"{k},{value}" for k, value in enumerate(values)]
    path = write(tmp_path, "a.csv", "other,load", *rows)
    return load("series", file=path, context=4, horizon=2, targets=("load",), **options)


def test_windows_with_a_missing_number_are_left_out(tmp_path):
    _, whole = series_with_holes(tmp_path, missing="ffill")
    _, data = series_with_holes(tmp_path, missing="drop")
    # A row lies in six windows of six rows. Row 50 is the third of the validation part.
    assert len(data.splits["train"].x) == len(whole.splits["train"].x) - 6
    assert len(data.splits["valid"].x) == len(whole.splits["valid"].x) - 3
    assert np.isfinite(data.splits["train"].x).all()


def test_rows_before_the_first_value_cannot_be_filled(tmp_path):
    path = write(tmp_path, "a.csv", "load", "NA", "NA", *(str(k % 7) for k in range(60)))
    _, data = load("series", file=path, context=4, missing="ffill")
    _, whole = load("series", file=path, context=4, missing="mask")
    assert "2 rows are left out" in data.source["notes"][0]
    # Without marks, the windows that begin in one of the two rows are left out.
    assert len(whole.splits["train"].x) - len(data.splits["train"].x) == 2


def test_a_mark_says_which_inputs_are_missing(tmp_path):
    task, data = series_with_holes(tmp_path, missing="mask")
    x = data.splits["train"].x
    assert x.shape[2] == task.inputs.features == 4
    marked = x[:, :, 3] == 1
    assert marked.sum() == 4  # as often as row 10 is in a context and no target is missing
    assert (x[marked][:, 1] == 0).all()
    assert not x[:, :, 2].any()


def test_a_column_of_equal_decimals_is_constant_in_any_unit(tmp_path):
    rows = [(0.1 if k < 70 else 0.11, 5 + k % 3) for k in range(100)]
    data = {}
    for factor in (1, 10):
        lines = [f"{factor * price:g},{value}" for price, value in rows]
        path = write(tmp_path, f"a{factor}.csv", "price,load", *lines)
        _, data[factor] = load("series", file=path, context=2, targets=("price", "load"))
    assert np.abs(data[1].splits["test"].x).max() < 5
    for split in ("train", "valid", "test"):
        small, large = (data[k].splits[split].x for k in (1, 10))
        np.testing.assert_allclose(small, large, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "season"), [(["5.0"] * 60, 1), ([str((3, 5, 8, 4)[k % 4]) for k in range(60)], 4)]
)
def test_a_series_without_seasonal_errors_has_no_mase(tmp_path, values, season):
    path = write(tmp_path, "a.csv", "load", *values)
    task, data = load("series", file=path, context=4, season=season)
    test = data.splits["test"]
    metrics = task.final_metrics(test.y, test, data.preprocessing)
    assert np.isnan(metrics["mase"])
    assert metrics["smape"] == 0


def test_times_are_checked_if_they_are_named(tmp_path):
    rows = [f"2024-01-{day:02d},{day}" for day in (*range(1, 21), 25, 24, *range(26, 31))]
    path = write(tmp_path, "a.csv", "when,load", *rows)
    _, data = load("series", file=path, context=2)
    assert "line 23 column 'when': 2024-01-24 comes after 2024-01-25" in data.source["notes"][0]
    options = {"file": path, "context": 2, "time": "when"}
    with pytest.raises(UserError, match="set task.sort=true"):
        load("series", **options)
    with pytest.raises(UserError, match=r"line 23 .* 2024-01-24 follows 2024-01-20, so rows"):
        load("series", **options, sort=True)
    _, kept = load("series", **options, sort=True, gaps="keep", valid_share=0.1, test_share=0.3)
    # The test part has rows 19 to 26, and the gap lies after its first one: of its six windows of
    # three rows, one crosses it.
    assert len(kept.splits["test"].x) == 5


# ---- tables

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


# ---- waves


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


# ---- texts

REVIEWS = [f'"a {word} film, {k}",{k % 2}' for k, word in enumerate(["good", "dull"] * 20)]


def test_columns_of_texts_are_found_where_there_is_no_doubt(tmp_path):
    path = write(
        tmp_path, "a.csv", "id,review,sentiment", *(f"{k},{r}" for k, r in enumerate(REVIEWS))
    )
    task, data = load("text", train=path)
    assert (task.text, task.label, task.labels) == ("review", "sentiment", ("0", "1"))
    assert data.source["left_out"] == {"id": "not used"}
    doubled = write(
        tmp_path, "b.csv", "review,a,b", *(f"{r},{k % 3}" for k, r in enumerate(REVIEWS))
    )
    with pytest.raises(UserError, match="set task.label to one of review, a, b"):
        task_of("text", train=doubled)
    assert task_of("text", train=doubled, label="b").labels == ("0", "1", "2")
    with pytest.raises(UserError, match="no column 'reviews'; did you mean 'review'"):
        task_of("text", train=path, text="reviews")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("a.csv", "x,", "line 4 has nothing for column 'label'"),
        ("a.csv", ",0", "line 4 has nothing for column 'text'"),
        ("a.csv", '"x,0', "line 4 has a quote"),
        ("a.csv", "x, y,0", "line 4 has 3 values, expected 2"),
        ("a.jsonl", '{"text": "x", "label": null}', "line 4 has nothing for column 'label'"),
        ("a.jsonl", '{"text": "x", "label": NaN}', "line 4: got NaN, which is not JSON"),
        ("a.jsonl", '{"text": "x", "text": "y"}', "line 4: got the key 'text' more than once"),
        ("a.jsonl", "[" * 100_000, "line 4 is not a record: it is nested too deeply"),
        ("a.jsonl", '{"text": ["x"], "label": 1}', "in column 'text', expected a text"),
        ("a.jsonl", '{"text": "x", "label": [1]}', r"got the label \[1\]"),
    ],
)
def test_a_record_without_text_or_label_is_refused(tmp_path, name, row, message):
    lines = ["text,label", *REVIEWS]
    if name == "a.jsonl":
        lines = [f'{{"text": "a film {k}", "label": {k % 2}}}' for k in range(40)]
    path = write(tmp_path, name, *lines[:3], row, *lines[3:])
    with pytest.raises(UserError, match=message):
        task_of("text", train=path)


def test_labels_are_stripped(tmp_path):
    path = write(tmp_path, "a.csv", "text,label", *(f"a film,{x}" for x in ("neg ", "pos", " neg")))
    assert task_of("text", train=path).labels == ("neg", "pos")


def test_a_table_of_texts_is_predicted_without_its_header(tmp_path):
    path = write(tmp_path, "a.csv", "review,sentiment", *REVIEWS)
    task, data = load("text", train=path)
    words = data.preprocessing["inputs"]

    def read(*lines):
        rows = task.read_inputs(lines, data.preprocessing)
        return [" ".join(words[number] for number in row) for row in rows]

    assert read("a good film") == ["a good film"]
    assert read("review,sentiment", '"a good film, dull",0') == ["a good film , dull"]
    assert read("review", "a good film") == ["a good film"]
    # A text that looks a little like a header.
    assert read("good, review") == ["good , <unk>"]
    assert read('{"review": "good"}') == ["good"]
    with pytest.raises(UserError, match="line 2 column 'review' has no text"):
        read("review,sentiment", ",0")


# ---- files of splits

FILES = {
    "text": ("train", lambda k: ["text,label", *(f"a film {j},{j % 2}" for j in range(k))]),
    "table": ("file", lambda k: ["a,b,label", *(f"{j},{k},{j % 2}" for j in range(k))]),
    "waves": ("file", lambda k: [f"{j % 2},{j},{k}" for j in range(k)]),
    "series": ("file", lambda k: ["load", *(str(j) for j in range(k))]),
    "tags": ("train", lambda k: [f"word{j} {'AB'[j % 2]}\n" for j in range(k)]),
    "language": ("train", lambda k: ["to be or not to be"] * k),
}


@pytest.mark.parametrize("name", FILES)
def test_every_split_may_have_its_own_file(tmp_path, name):
    first, lines_of = FILES[name]
    sizes = {first: 20, "valid": 9, "test": 11}
    paths = {k: write(tmp_path, f"{k}.csv", *lines_of(size)) for k, size in sizes.items()}
    options = {"series": {"context": 1}}.get(name, {})

    def examples(files):
        _, data = load(name, **files, **options)
        splits = [data.splits[split] for split in ("train", "valid", "test")]
        return [len(s.tokens) // 7 if name == "language" else len(s.x) for s in splits]

    lost = 1 if name == "series" else 0  # the first row is only read
    assert examples(paths) == [20 - lost, 9 - lost, 11 - lost]
    # Two files: the validation split comes from the training file alone.
    train, valid, test = examples({first: paths[first], "test": paths["test"]})
    assert train + valid == 20 - 2 * lost
    assert valid > 0
    assert test == 11 - lost
    spec = build_spec({"task": {"name": name, **paths, **options}, "train": {"steps": 1}})
    assert from_json(to_json(spec)) == spec
    (tmp_path / "test.csv").write_text("changed")
    with pytest.raises(UserError, match="task.sha256: .* changed since the run was configured"):
        spec.task.load(Path())


def test_columns_of_a_test_table_may_have_another_order(tmp_path):
    rows = [(k, k % 5, "ab"[k % 2]) for k in range(40)]
    train = write(tmp_path, "a.csv", "x,y,label", *(f"{x},{y},{z}" for x, y, z in rows))
    test = write(tmp_path, "b.csv", "label;y;x", *(f"{z};{y};{x}" for x, y, z in rows))
    _, data = load("table", file=train, test=test)
    part = data.splits["test"]
    assert part.y.tolist() == [k % 2 for k in range(40)]
    mean, std = (data.preprocessing["columns"][0][k] for k in ("mean", "std"))
    np.testing.assert_allclose(part.x[:, 0, 2] * std + mean, np.arange(40), atol=1e-4)


def test_a_run_says_which_files_are_for_which_split(tmp_path):
    train, other = (write(tmp_path, f"{k}.csv", "text,label", *REVIEWS) for k in "ab")
    ids = {
        run_id(
            build_spec({"task": {"name": "text", "train": train, **files}, "train": {"steps": 1}})
        )
        for files in ({}, {"valid": other}, {"test": other}, {"valid": other, "test": other})
    }
    assert len(ids) == 4


def test_a_file_that_replaces_that_of_a_record_has_its_own_hash(tmp_path):
    train, other = (write(tmp_path, f"{k}.csv", "text,label", *REVIEWS) for k in "ab")
    record = to_json(build_spec({"task": {"name": "text", "train": train}, "train": {"steps": 1}}))
    spec = load_spec(record, {"task.test": other})
    assert spec.task.sha256 != record["task"]["sha256"]
    spec.task.load(Path())


def test_a_record_reads_no_file(tmp_path):
    path = write(tmp_path, "a.csv", "text,label", *REVIEWS)
    spec = build_spec({"task": {"name": "text", "train": path}, "train": {"steps": 1}})
    (tmp_path / "a.csv").unlink()
    assert from_json(to_json(spec)) == spec


def test_folds_and_files_of_splits_exclude_each_other():
    with pytest.raises(ValueError, match="folds: expected none, since valid or test have files"):
        Waves("a.txt", ("a", "b"), test="b.txt", folds=3, fold=0)
    assert Language("a.txt", test="b.txt").valid is None
    assert Text("a.csv", ("a", "b"), delimiter="tab").mark == "\t"
    assert Series.files == ("file", "valid", "test")
