"""Files of splits: every task may have them, and their hash covers all of them."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.config.load import load_spec
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.tasks import TASKS, Language, Text, Waves
from lstm_lab.utils.errors import UserError
from tests.helpers.tables import load, write

REVIEWS = [f'"a {word} film, {k}",{k % 2}' for k, word in enumerate(["good", "dull"] * 20)]


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
        return [len(s.tokens) // 7 if name == "language" else s.rows for s in splits]

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


@pytest.mark.parametrize("name", TASKS)
def test_an_option_that_may_be_none_is_none_by_default(name):
    # `Task.complete` takes None for an option that is absent.
    for field in fields(TASKS[name]):
        if "None" in str(field.type) and field.init:
            assert field.default is None, field.name


def test_none_does_not_undo_what_the_files_determine(tmp_path):
    conll = write(tmp_path, "a.conll", "a I-x", "b I-x", "c B-x", "", "d O", "", *["e I-x", ""] * 9)
    reviews = write(tmp_path, "a.csv", "text,label", *REVIEWS)
    for options in (
        {"name": "tags", "train": conll},
        {"name": "text", "train": reviews},
        {"name": "language", "train": reviews, "unit": "character"},
    ):
        whole = build_spec({"task": options, "train": {"steps": 1}})
        assert whole.task.sha256
        nothing = {f.name: None for f in fields(whole.task) if f.init and f.default is None}
        assert build_spec({"task": {**nothing, **options}, "train": {"steps": 1}}) == whole
    options = {"name": "tags", "train": conll, "scheme": None}
    assert build_spec({"task": options, "train": {"steps": 1}}).task.scheme == "IOB1"


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
