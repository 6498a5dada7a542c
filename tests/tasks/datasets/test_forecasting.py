"""Forecasts, heartbeats and tables: windows, folds, scales, and errors in files."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lstm_lab.config.load import load_spec
from lstm_lab.config.overrides import parse_overrides
from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Examples, Series, Table, Waves, trivial_baselines
from lstm_lab.tasks.datasets import forecasting
from lstm_lab.tasks.readers.labels import class_weights
from lstm_lab.utils.errors import UserError
from tests.helpers.data import dense, write_series
from tests.helpers.tables import load, task_of, write


def counting_series(tmp_path, rows=100, **options):
    """Returns a task on a file whose row k holds a date, k and 10 k."""
    path = tmp_path / "a.csv"
    lines = [f"2000-{k},{k},{10 * k}" for k in range(1, rows + 1)]
    path.write_text("\n".join(["date,one,ten", *lines]) + "\n")
    return Series(str(path), ("one", "ten"), ("ten",), context=6, horizon=3, **options)


def test_windows_stay_in_their_split_and_in_order(tmp_path):
    task = counting_series(tmp_path)
    dataset = task.load(tmp_path)
    mean, std = np.array(dataset.preprocessing["mean"]), np.array(dataset.preprocessing["std"])
    np.testing.assert_allclose(mean, [30.5, 305.0])  # of the first 60 rows only
    assert dataset.preprocessing["names"] == ["one", "ten"]
    for split, rows in (("train", (1, 60)), ("valid", (61, 80)), ("test", (81, 100))):
        part = dense(dataset.splits[split])
        x = part.x * std + mean
        assert len(x) == rows[1] - rows[0] + 1 - 8
        np.testing.assert_allclose(x[:, :, 0], x[:, :1, 0] + np.arange(6)[None], rtol=1e-4)
        assert round(float(x[0, 0, 0])) == rows[0]
        y = task.original(part.x, part.y, dataset.preprocessing)
        np.testing.assert_allclose(y[:, :, 0], 10 * (x[:, -1:, 0] + [[1, 2, 3]]), rtol=1e-4)
        assert round(float(y[-1, -1, 0])) == 10 * rows[1]


def test_a_rolling_origin_trains_only_on_the_past(tmp_path):
    ends = []
    for fold in range(3):
        task = counting_series(tmp_path, folds=3, fold=fold)
        dataset = task.load(tmp_path)
        mean, std = np.array(dataset.preprocessing["mean"]), np.array(dataset.preprocessing["std"])
        rows = [
            (round(float(part.x[0, 0, 0] * std[0] + mean[0])), len(part.x) + 8)
            for part in (dense(dataset.splits[split]) for split in ("train", "valid", "test"))
        ]
        ends.append(rows)
    # 100 rows in five blocks: the first row of each split, and its number of rows.
    assert ends == [
        [(1, 20), (21, 20), (41, 20)],
        [(1, 40), (41, 20), (61, 20)],
        [(1, 60), (61, 20), (81, 20)],
    ]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("relative", [False, True])
def test_scores_and_original_units_do_not_depend_on_log_or_relative(tmp_path, log, relative):
    plain, other = (
        counting_series(tmp_path, log=log, relative=r, season=2) for r in (False, relative)
    )
    data, expected = other.load(tmp_path), plain.load(tmp_path)
    test = dense(data.splits["test"])
    truth = other.original(test.x, test.y, data.preprocessing)
    np.testing.assert_allclose(truth[0, :, 0], [870, 880, 890], rtol=1e-4)
    scores, reference = trivial_baselines(other, data), trivial_baselines(plain, expected)
    for name in ("persistence", "seasonal"):
        for metric in ("mse", "mae", "smape", "mase"):
            assert scores[name][metric] == pytest.approx(reference[name][metric], rel=1e-3)
    if not log:
        std = data.preprocessing["std"][1]
        assert scores["persistence"]["mae"] == pytest.approx(10 * 2 / std, rel=1e-3)
        # A season has two rows, so the forecasts repeat values that are 2, 2 and 4 rows old.
        assert scores["seasonal"]["mae"] == pytest.approx(10 * 8 / 3 / std, rel=1e-3)
        assert scores["persistence"]["mase"] == pytest.approx(20 / 20, rel=1e-3)
        late = np.array([[10, 20, 30]]) / (truth[:, :, 0] - [[5, 10, 15]])
        assert scores["persistence"]["smape"] == pytest.approx(100 * late.mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("date,one,ten\n2000,1,x\n", "line 2 column 'ten': got 'x', expected a finite number"),
        ("date,one,ten\n2000,1\n", "line 2 has 2 values, expected 3 as in the header"),
        ("date,one,tin\n2000,1,2\n", "no column 'ten'; did you mean"),
        ("date,one,ten\n", "has no rows"),
        ("date,one,ten\n\n2000,1,inf\n", "line 3 column 'ten': got 'inf', expected a finite"),
        ("date,one,ten\n2000,1,1\n", "leaves train 1 rows, expected 9 or more"),
    ],
)
def test_an_invalid_series_is_rejected(tmp_path, content, message):
    task = counting_series(tmp_path)
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        task.load(tmp_path)


@pytest.mark.parametrize("rows", [0, -5])
def test_a_number_of_rows_is_one_or_more(tmp_path, rows):
    with pytest.raises(UserError, match=f"task.rows: got {rows}, expected 1 or more"):
        load("series", file=write(tmp_path, "a.csv", "x", *map(str, range(50))), rows=rows)


@pytest.mark.parametrize("size", ["attributes", "categories"])
def test_a_table_has_no_negative_size(size):
    with pytest.raises(ValueError, match=f"{size}: got -1, expected 0 or more"):
        Table("a.csv", ("a", "b"), **{"attributes": 1, "categories": 1, size: -1})


def test_all_splits_are_checked_before_one_is_made(tmp_path, monkeypatch):
    """Training rows are enough for the context, test rows are not."""
    task = counting_series(tmp_path, valid_share=0.3, test_share=0.08)
    monkeypatch.setattr(forecasting, "Windows", lambda *_: pytest.fail("made"))
    with pytest.raises(UserError, match="leaves test 8 rows, expected 9 or more"):
        task.load(tmp_path)


def test_long_windows_are_not_copied(tmp_path):
    task = replace(counting_series(tmp_path, rows=4000), context=700)
    tracemalloc.start()
    try:
        trivial_baselines(task, task.load(tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The windows of the training rows alone have 1,698 x 700 x 2 numbers of 4 bytes: 9.5 MB.
    assert peak < 4e6


def test_logarithms_of_new_rows_need_values_above_zero(tmp_path):
    task = counting_series(tmp_path, log=True)
    preprocessing = task.load(tmp_path).preprocessing
    rows = ["date,one,ten", *(f"2000-{k},{k},{10 * k}" for k in range(6))]
    with pytest.raises(UserError, match="line 2 has a value of 0 or less, expected values above 0"):
        next(task.read_inputs(rows, preprocessing))


def test_options_describe_a_users_series(tmp_path):
    counting_series(tmp_path, rows=150)
    options = {"name": "series", "file": str(tmp_path / "a.csv")}
    task = build_spec({"task": options, "train": {"steps": 1}}).task
    assert (task.inputs_of, task.targets) == (("one", "ten"), ("ten",))
    task.load(tmp_path)
    (tmp_path / "b.csv").write_text("a,b\nx,y\n")
    with pytest.raises(UserError, match="line 2 has no number"):
        Series.complete({"file": str(tmp_path / "b.csv")}, tmp_path)
    with pytest.raises(ValueError, match="season: got 9, expected up to context, 6"):
        counting_series(tmp_path, season=9)


def test_folds_test_every_heartbeat_once(tmp_path):
    write_series(tmp_path)
    options = {"file": "ecg5000/ECG5000_TRAIN.txt", "folds": 5, "fold": 0}
    task = Waves(**Waves.complete(options, tmp_path))
    assert task.labels == ("1", "2", "3", "4", "5")
    parts = [replace(task, fold=k).load(tmp_path).splits for k in range(5)]
    tested = np.concatenate([part["test"].x for part in parts])
    assert len(np.unique(tested, axis=0)) == 30
    held_out = Waves(task.file, task.labels, values_per_step=4).load(tmp_path)
    assert held_out.splits["train"].x.shape == (20, 3, 4)
    with pytest.raises(UserError, match="got 5, which does not divide the 12 values"):
        Waves(task.file, task.labels, values_per_step=5).load(tmp_path)
    with pytest.raises(UserError, match=r"line \d+ has the label '[345]', expected one of"):
        Waves(task.file, ("1", "2")).load(tmp_path)
    (tmp_path / "b.txt").write_text("1 2 3\n1 2\n")
    with pytest.raises(UserError, match=r"line 2 has 2 values, expected 3 as in the first row"):
        task.read_series(tmp_path / "b.txt")


def test_class_weights_balance_the_classes():
    y = np.array([0] * 8 + [1] * 2)
    weights = class_weights(y, 3)[y]
    assert weights[:8].sum() == pytest.approx(weights[8:].sum())
    assert weights.mean() == pytest.approx(1.0)


def test_a_table_is_a_sequence_of_attributes(tmp_path):
    write_series(tmp_path)
    options = {"file": "german_credit/german.csv", "header": False, "balanced": True}
    task = Table(**Table.complete(options, tmp_path))
    assert (task.attributes, task.categories, task.labels) == (20, 3, ("1", "2"))
    dataset = task.load(tmp_path)
    train = dataset.splits["train"]
    assert train.x.shape == (39, 20, 24)
    np.testing.assert_array_equal(train.x[:, :, :20], np.eye(20)[None].repeat(39, 0))
    numbers = train.x[:, 13:, 20]
    np.testing.assert_allclose(numbers.mean(0), np.zeros(7), atol=1e-5)
    np.testing.assert_allclose(numbers.std(0), np.ones(7), atol=1e-5)
    np.testing.assert_array_equal(train.x[:, :13, 21:].sum(-1), np.ones((39, 13)))
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(len(dataset.splits["test"].y), 2))
    metrics = task.final_metrics(outputs, dataset.splits["test"], dataset.preprocessing)
    expected = roc_auc_score(dataset.splits["test"].y, outputs[:, 1] - outputs[:, 0])
    assert metrics["auc"] == pytest.approx(expected)
    one = Examples(None, np.zeros(4, int))
    assert np.isnan(task.final_metrics(outputs[:4], one, {})["auc"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,good\n1,2\n", "line 2 has 2 values, expected 3 as in the first row"),
        ("a,b,good\n", "has no rows"),
        ("a,b,good\n1,2,no\n", "line 2 has the label 'no', expected one of"),
    ],
)
def test_an_invalid_table_is_rejected(tmp_path, content, message):
    header = message == "has no rows" or "label" in message
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        Table(str(tmp_path / "a.csv"), ("1", "2"), 2, 3, header=header).load(Path())


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
        (
            ["temp,load", "1,\u22123", "2,\u22124", "3,5"],
            "ends in the column 'load', which has words",
        ),
        (["temp,load", "1,3 kW", "2,4 kW", "3,5"], "set task.targets, such as .*='temp'"),
        ([",,", "1,2,3"], "line 2 has no numbers"),
        (["temp,load", "1,3", "2,1e300"], "line 3 column 'load': got '1e300', .* up to 3.4e.38"),
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
    assert data.splits["train"].rows == whole.splits["train"].rows - 6
    assert data.splits["valid"].rows == whole.splits["valid"].rows - 3
    assert np.isfinite(dense(data.splits["train"]).x).all()


def test_rows_before_the_first_value_cannot_be_filled(tmp_path):
    path = write(tmp_path, "a.csv", "load", "NA", "NA", *(str(k % 7) for k in range(60)))
    _, data = load("series", file=path, context=4, missing="ffill")
    _, whole = load("series", file=path, context=4, missing="mask")
    assert "2 rows are left out" in data.source["notes"][0]
    # Without marks, the windows that begin in one of the two rows are left out.
    assert whole.splits["train"].rows - data.splits["train"].rows == 2


def test_a_mark_says_which_inputs_are_missing(tmp_path):
    task, data = series_with_holes(tmp_path, missing="mask")
    x = dense(data.splits["train"]).x
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
    assert np.abs(dense(data[1].splits["test"]).x).max() < 5
    for split in ("train", "valid", "test"):
        small, large = (dense(data[k].splits[split]).x for k in (1, 10))
        np.testing.assert_allclose(small, large, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "season"), [(["5.0"] * 60, 1), ([str((3, 5, 8, 4)[k % 4]) for k in range(60)], 4)]
)
def test_a_series_without_seasonal_errors_has_no_mase(tmp_path, values, season):
    path = write(tmp_path, "a.csv", "load", *values)
    task, data = load("series", file=path, context=4, season=season)
    test = data.splits["test"]
    metrics = task.final_metrics(dense(test).y, test, data.preprocessing)
    assert np.isnan(metrics["mase"])
    assert metrics["smape"] == 0


def test_an_input_to_predict_names_gaps_and_rows_that_are_not_in_order(tmp_path, capsys):
    rows = [f"2024-01-{day:02d},{day}" for day in range(1, 31)]
    path = write(tmp_path, "a.csv", "when,load", *rows)
    task, data = load("series", file=path, context=2)
    for lines, note in (
        (rows, ""),
        (rows[:10] + rows[20:], "note: input line 12 column 'when': 2024-01-21 follows 2024-01-10"),
        (rows[::-1], "note: input line 3 column 'when': 2024-01-29 comes after 2024-01-30"),
    ):
        for read in (task.read_inputs, task.read_rolling):
            assert list(read(["when,load", *lines], data.preprocessing))
            error = capsys.readouterr().err
            assert error.startswith(note) if note else error == ""
            assert error.count("\n") == bool(note)


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
    assert kept.splits["test"].rows == 5
