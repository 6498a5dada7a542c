"""Forecasts, heartbeats and tables: windows, folds, scales, and errors in files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Examples, Series, Table, Waves, trivial_baselines
from lstm_lab.tasks.readers.labels import class_weights
from lstm_lab.utils.errors import UserError
from tests.helpers.data import write_series


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
    for split, rows in (("train", (1, 60)), ("valid", (61, 80)), ("test", (81, 100))):
        part = dataset.splits[split]
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
            for part in (dataset.splits[split] for split in ("train", "valid", "test"))
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
    test = data.splits["test"]
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
