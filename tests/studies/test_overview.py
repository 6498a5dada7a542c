"""The table of all studies: what they cost, what is archived, and whose data are missing."""

import gzip
import json

import pytest

from lstm_lab.config import find
from lstm_lab.studies.archive import pack
from lstm_lab.studies.load import load_study
from lstm_lab.studies.overview import overview, study_states
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest

STUDY = """
from lstm_lab.studies import Sequential, Study, grid

def get_study():
    return Study(
        name="{name}",
        base={{
            "task": {task},
            "model": {{"hidden": 4}},
            "train": {{"batch_size": 4, "{length}": 2}},
        }},
        axes=(grid("model.cell", ("rnn", "gru")),),
        seeds={seeds},
        {more}
    )
"""
ADDING = '{"name": "adding", "length": 5, "valid_size": 8, "test_size": 8}'


def declare(folder, name, task=ADDING, length="steps", seeds=(0, 1), more=""):
    """Writes the file of a study; `more` are further fields."""
    text = STUDY.format(name=name, task=task, length=length, seeds=seeds, more=more)
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """A working directory with three studies; those of the package are not listed."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for name, task, length in (
        ("done", ADDING, "steps"),
        ("begun", ADDING, "steps"),
        ("without_data", '{"name": "jsb"}', "epochs"),
    ):
        declare(folder, name, task, length)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find, "package_folder", lambda kind: tmp_path / kind)
    launch(load_study("done"), tmp_path / "done", tmp_path, StopRequest())
    done, begun = (folder / "results" / name / "runs.jsonl.gz" for name in ("done", "begun"))
    pack(tmp_path / "done", done)
    begun.parent.mkdir()
    first, *_ = gzip.decompress(done.read_bytes()).splitlines()
    begun.write_bytes(gzip.compress(first))
    return folder


def test_every_study_has_its_runs_its_archive_and_its_cost(experiments, tmp_path):
    states = {state.name: state for state in study_states(tmp_path)}
    assert list(states) == ["begun", "done", "without_data"]
    assert [state.runs for state in states.values()] == [4, 4, 4]
    assert states["done"].archived == 4
    assert states["begun"].archived == 1
    assert states["done"].seconds > 0
    missing = states["without_data"]
    assert (missing.archived, missing.seconds) == (0, None)
    assert "JSB_Chorales.mat is missing" in missing.missing
    # Nothing was written, not even a folder for the data.
    assert not (tmp_path / "jsb").exists()
    text = overview(states.values())
    assert "3 studies, 1 with an archive of all runs" in text
    rows = {line.split()[0]: line for line in text.splitlines()[1:4]}
    assert rows["begun"].rstrip().endswith("25% archived")
    assert rows["done"].rstrip().endswith("archived")
    assert rows["without_data"].rstrip().endswith("is missing")


def test_an_archive_tells_which_seeds_the_looks_asked_for(experiments, tmp_path):
    for name, rope in (("decided", 1e9), ("undecided", 0.0)):
        looks = f"baseline='rnn', rope={rope}, sequential=Sequential(first=2, step=1),"
        declare(experiments, name, seeds=(0, 1, 2), more=looks)
    launch(load_study("decided"), tmp_path / "decided", tmp_path, StopRequest())
    for name in ("decided", "undecided"):
        pack(tmp_path / "decided", experiments / "results" / name / "runs.jsonl.gz")
    states = {state.name: state for state in study_states(tmp_path)}
    # Two variants with two of three seeds each. Without a rope, the third may be asked for.
    assert (states["decided"].runs, states["decided"].archived) == (4, 4)
    assert (states["undecided"].runs, states["undecided"].archived) == (6, 4)
    assert states["decided"].seconds < states["undecided"].seconds
    assert "5 studies, 2 with an archive of all runs" in overview(states.values())


def test_results_of_an_earlier_meaning_do_not_count(experiments, tmp_path):
    archive = experiments / "results" / "done" / "runs.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(archive.read_bytes()).splitlines()]
    changed = "".join(json.dumps({**row, "redefined": {"cell": 9}}) + "\n" for row in rows)
    archive.write_bytes(gzip.compress(changed.encode()))
    states = {state.name: state for state in study_states(tmp_path)}
    assert states["done"].archived == 0


def test_a_damaged_archive_is_named_in_its_row(experiments, tmp_path):
    archive = experiments / "results" / "begun" / "runs.jsonl.gz"
    archive.write_bytes(archive.read_bytes()[:40])
    other = experiments / "results" / "without_data" / "runs.jsonl.gz"
    other.parent.mkdir()
    other.write_bytes(b"{}")
    states = {state.name: state for state in study_states(tmp_path)}
    assert states["done"].archived == 4
    assert states["without_data"].missing.startswith(f"archive: {other.relative_to(tmp_path)} is")
    begun = states["begun"]
    assert (begun.runs, begun.archived, begun.seconds) == (4, 0, states["done"].seconds)
    assert begun.missing.startswith(f"archive: {archive.relative_to(tmp_path)} is no archive")
