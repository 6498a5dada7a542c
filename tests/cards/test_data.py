"""The data of a run: known data sets, a user's files, sizes of splits."""

import pytest

from lstm_lab.cards.data import run_data
from lstm_lab.tasks import TASKS
from lstm_lab.tasks.readers.sources import DATA_SETS
from lstm_lab.utils.files import read_json


def describe(tmp_path, **task):
    return run_data(tmp_path, {"spec": {"task": task}})


@pytest.mark.parametrize(
    ("task", "data_sets", "n_files"),
    [
        ({"name": "adding"}, [], 0),
        ({"name": "digits"}, [], 0),
        ({"name": "mnist"}, ["mnist"], 4),
        ({"name": "spoken_digits"}, ["fsdd"], 1),
        ({"name": "jsb", "collection": "nottingham"}, ["nottingham"], 1),
        ({"name": "text", "train": "imdb/train.jsonl.gz", "test": None}, ["imdb"], 0),
        ({"name": "language", "train": "ptb/ptb.train.txt", "valid": "x"}, ["ptb"], 1),
        # A folder stands for the files in it.
        ({"name": "tags", "train": "atis/train", "test": "atis/test"}, ["atis"], 6),
        # The name of a task is not a path, and a prefix of a name is not a folder.
        ({"name": "series", "file": "ett/ETTh1.csv"}, ["ett"], 1),
        ({"name": "series", "file": "seri"}, [], 0),
    ],
)
def test_known_data_sets_are_found(tmp_path, task, data_sets, n_files):
    files = TASKS[task["name"]].files
    data = describe(tmp_path, **{**dict.fromkeys(files), **task})
    assert list(data.data_sets) == data_sets
    assert len(data.hashes) == n_files


def test_ids_on_the_hub_have_an_owner_and_a_name():
    ids = [data_set.hub_id for data_set in DATA_SETS.values() if data_set.hub_id]
    assert len(ids) == len(set(ids)) == 5
    assert all(len(hub_id.split("/")) == 2 for hub_id in ids)


def test_a_users_file_has_its_name_and_hash_and_not_its_folder(series):
    head = read_json(series / "run.json")
    data = run_data(series, head)
    assert data.files == ("po'we*r*.csv",)
    assert data.sha256 == head["spec"]["task"]["sha256"]
    assert (data.name, data.data_sets) == ("po'we*r*.csv", {})
    assert data.source["predicts"] == ["load|<b>: *x*"]


def test_the_sizes_of_the_splits_are_recorded(run, series):
    of_run = run_data(run, read_json(run / "run.json"))
    assert (of_run.examples, of_run.generated) == ({"valid": 20, "test": 20}, True)
    of_series = run_data(series, read_json(series / "run.json"))
    assert list(of_series.examples) == ["train", "valid", "test"]
    assert not of_series.generated


def test_a_record_of_an_earlier_version_has_no_sizes(run):
    head = read_json(run / "run.json")
    del head["examples"]
    assert run_data(run, head).examples == {}


def test_a_task_of_the_users_has_no_description(tmp_path):
    data = describe(tmp_path, name="mine.py:adding")
    assert (data.task, data.text, data.name) == ("adding", "", "adding")
