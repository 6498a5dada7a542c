"""The origin of the weights: the command that trains the model again, and the record."""

import re
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lstm_lab.cards.facts import read_facts
from lstm_lab.cards.provenance import provenance_section
from lstm_lab.cli import main
from lstm_lab.results.run_files import read_result
from lstm_lab.utils.files import read_json
from tests.helpers.markdown_tables import tables
from tests.helpers.pages import blocks_of


def command_of(text):
    """Returns the command of a section as words."""
    ((kind, command),) = blocks_of(text)
    assert kind == "sh"
    return shlex.split(command)


def test_the_command_trains_the_same_model_in_any_folder(run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    places = {"RUN/run.json": "../adding/run.json", "--workdir=DIR": "--workdir=again"}
    words = [places.get(word, word) for word in command_of(provenance_section(read_facts(run)))]
    assert words[:2] == ["lstm-lab", "train"]
    assert main(words[1:]) == 0
    # The same settings and seed; the first run shared its program, so it rounds differently.
    assert read_json(elsewhere / "again" / "run.json")["id"] == read_json(run / "run.json")["id"]
    first, again = read_result(run)["test"], read_result(elsewhere / "again")["test"]
    assert again["mse"] == pytest.approx(first["mse"], rel=1e-4)


def test_the_command_for_data_of_the_author_takes_a_copy(series, tmp_path):
    facts = read_facts(series)
    text = provenance_section(facts)
    assert "not in the run: add `--config.task.file=FILE` for your copy" in text
    copy = tmp_path / "copy.csv"
    copy.write_bytes(Path(facts.head["spec"]["task"]["file"]).read_bytes())
    words = ["train", str(series / "run.json"), f"--workdir={tmp_path / 'again'}"]
    assert main([*words, f"--config.task.file={copy}"]) == 0
    assert read_result(tmp_path / "again")["weights_sha256"]


def test_a_run_with_code_of_its_author_needs_the_flag(run):
    facts = read_facts(run)
    settings = {**facts.record.settings, "model.cell": "/home/ann/cells.py:mine"}
    own = replace(facts, record=replace(facts.record, settings=settings))
    assert command_of(provenance_section(own))[-1] == "--trust-code"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["train", "adding", "--workdir=/home/ann/run"], "train adding --workdir=RUN"),
        (["train", "adding", "--workdir", "../ann/run"], "train adding --workdir RUN"),
        (["train", "/home/ann/mine.py:lstm"], "train mine.py:lstm"),
        (["train", "characters:ann/a.txt,/b.txt"], "train characters:a.txt,b.txt"),
        (["train", "--config=ann/mine.py:lstm"], "train --config=mine.py:lstm"),
        (["train", "a b/c d"], "train 'c d'"),
        (["train", "--config.model.cell=ann/c.py:x"], "train --config.model.cell=c.py:x"),
        (["train", "--config.optim.lr=1e-3"], "train --config.optim.lr=1e-3"),
        (
            ["train", "--config.model.init_parts=lstm/layer_0"],
            "train --config.model.init_parts=lstm/layer_0",
        ),
        (["train", "--log=ann/mine.py:Mine"], "train --log=mine.py:Mine"),
        (["train", "--workdir=/"], "train --workdir=RUN"),
        # The signs between paths and names can be part of a folder.
        (["train", "/home/ann=x/mine.py"], "train mine.py"),
        (["train", "ann=x/mine.py"], "train mine.py"),
        (["train", "--config=/home/ann=x/mine.py:lstm"], "train --config=mine.py:lstm"),
        (["train", "/home/ann, her/mine.py"], "train mine.py"),
        (["train", "~/ann:x/mine.py:lstm"], "train mine.py:lstm"),
        (["train", "/home/ann,x/a.txt,/home/ann,x/b.txt"], "train a.txt,b.txt"),
        (["train", "characters:/home/ann,x/a.txt,../b.txt"], "train characters:a.txt,b.txt"),
        (
            ["train", "--config.model.init_from=../ann,x/w.npz"],
            "train --config.model.init_from=w.npz",
        ),
        (["train", "--config.optim.lr=.5"], "train --config.optim.lr=.5"),
    ],
)
def test_of_a_path_in_the_command_of_the_author_the_last_name_is_shown(words, shown, run):
    facts = read_facts(run)
    head = {**facts.head, "command": ["__main__.py", *words]}
    rows = dict(tables(provenance_section(replace(facts, head=head)))[0])
    assert rows["command of the author"] == f"lstm-lab {shown}"


def test_the_folder_of_a_study_has_another_name(study):
    facts = read_facts(next((study / "runs").iterdir()))
    head = {**facts.head, "command": ["lstm-lab", "sweep", "five", "--workdir=ann/five"]}
    rows = dict(tables(provenance_section(replace(facts, head=head)))[0])
    assert rows["command of the author"] == "lstm-lab sweep five --workdir=STUDY"


def test_a_notebook_is_no_command(run):
    facts = read_facts(run)
    head = {**facts.head, "command": ["ipykernel_launcher.py", "-f", "/home/ann/kernel.json"]}
    text = provenance_section(replace(facts, head=head))
    assert dict(tables(text)[0])["command of the author"] == (
        "ipykernel_launcher.py, which called lstm_lab from Python"
    )
    assert "kernel.json" not in text


def test_the_hashes_and_the_commit_are_those_of_the_record(run):
    facts = read_facts(run)
    rows = dict(tables(provenance_section(facts))[0])
    files = read_result(run)["files"]
    # The first characters: whole hashes would make the table too wide to read.
    hashes = {f"SHA-256 of {name}": entry["sha256"][:12] for name, entry in files.items()}
    assert hashes.items() <= rows.items()
    head = read_json(run / "run.json")
    assert head["git"]["commit"] is None or rows["git commit"] == head["git"]["commit"][:12]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", rows["started"])


def test_the_machine_is_named_in_words_of_the_reader(run):
    rows = dict(tables(provenance_section(read_facts(run)))[0])
    machine = read_json(run / "run.json")["machine"]
    device, processor, threads = (machine[name] for name in ("device", "processor", "threads"))
    assert rows["machine"] == f"device {device}, processor {processor}, CPU threads {threads}"
    assert not [name for name in rows if "without seeds" in name]


def test_the_date_does_not_depend_on_the_time_zone(run, monkeypatch):
    facts = read_facts(run)
    here = provenance_section(facts)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert provenance_section(facts) == here
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_record_without_optional_entries_has_a_shorter_table(run):
    facts = read_facts(run)
    left_out = ("git", "machine", "command", "versions", "started", "group", "backend", "seeds")
    head = {name: value for name, value in facts.head.items() if name not in left_out}
    rows = dict(tables(provenance_section(replace(facts, head=head)))[0])
    assert not {"git commit", "machine", "started", "seeds"} & set(rows)
