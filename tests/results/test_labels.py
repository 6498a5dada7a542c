"""What variants differ in: short labels of their settings, and the variants of each task."""

from lstm_lab.results.labels import split_labels, variants_by_task


def test_labels_are_split_into_task_and_other_settings():
    points = {"a": {"task.length": 9, "task.kinds": 2, "model.cell": "gru"}, "b": {}}
    assert split_labels(points) == {"a": ("length=9 kinds=2", "gru"), "b": ("base", "base")}
    assert split_labels({"a": {}, "b": {}}) == {"a": ("", ""), "b": ("", "")}


def test_different_settings_have_different_labels():
    points = {
        "a": {"task.length": 9, "model.dropout_in": 0.1},
        "b": {"task.length": 9, "model.dropout_out": 0.1},
    }
    assert split_labels(points) == {"a": ("9", "dropout_in=0.1"), "b": ("9", "dropout_out=0.1")}
    ends = {"a": {"model.hidden": 9}, "b": {"train.hidden": 9}}
    assert split_labels(ends) == {"a": ("", "model.hidden=9"), "b": ("", "train.hidden=9")}


def test_different_tasks_have_different_labels():
    """Otherwise scores of one would be compared with those of the other."""
    points = {
        "a": {"task.length": 9, "model.cell": "gru"},
        "b": {"task.delay": 9, "model.cell": "rnn"},
        "c": {"task.length": 20, "model.cell": "gru"},
    }
    labels = split_labels(points)
    assert labels == {"a": ("length=9", "gru"), "b": ("delay=9", "rnn"), "c": ("length=20", "gru")}
    assert list(variants_by_task(labels).values()) == [["a"], ["b"], ["c"]]
