"""How a card says to use its model: its Python code and its command do the same."""

import re
import shlex
from dataclasses import replace

import pytest

from lstm_lab.cards.card import model_card
from lstm_lab.cards.facts import read_facts
from lstm_lab.cards.use import FILES, GENERATE, OWN_TASK, TEXTS, use_section
from lstm_lab.cli import main
from lstm_lab.interop import TARGETS
from lstm_lab.tasks import TASKS
from tests.helpers.pages import blocks_of
from tests.helpers.training import language_spec, train


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """The folder of a run of a language model."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "a.txt").write_text("THE TEXT EXTENDS\n" * 40)
    train([language_spec(folder / "a.txt", train={"steps": 2, "eval_every": 1})], folder)
    return folder / "0"


def of_task(facts, name):
    """Returns the facts of the same run, as if its task had another name."""
    settings = {**facts.record.settings, "task.name": name}
    data = replace(facts.data, task=name.rpartition(":")[2])
    return replace(facts, record=replace(facts.record, settings=settings), data=data)


def test_a_language_model_generates_the_same_text_in_python_and_in_a_shell(language, capsys):
    blocks = dict(blocks_of(use_section(read_facts(language))))
    exec(compile(blocks["python"].replace('"RUN"', repr(str(language))), "card", "exec"), {})
    by_python = capsys.readouterr().out
    command = re.search(r"lstm-lab generate .*", use_section(read_facts(language)))[0]
    assert main(shlex.split(command.replace("=RUN", f"={language}"))[1:]) == 0
    assert capsys.readouterr().out == by_python
    assert by_python.startswith("TEXT")
    assert len(by_python) == len("TEXT") + 400 + len("\n")
    assert "predict" not in use_section(read_facts(language))


def test_the_code_for_music_uses_what_the_package_has(run):
    text = use_section(of_task(read_facts(run), "jsb"))
    (python,) = (block for kind, block in blocks_of(text) if kind == "python")
    imports = [line for line in python.splitlines() if re.match(r"(from|import) ", line)]
    names = {}
    exec("\n".join(imports), names)
    assert {"Path", "Sampling", "compose", "ll", "write_midi"} <= set(names)
    assert "lstm-lab generate --workdir=RUN --format=midi" in text


@pytest.mark.parametrize(
    ("task", "call", "file"),
    [
        ("adding", "run.predict(x)", "`FILE` contains one sequence per line, as numbers"),
        ("text", 'run.predict(["a text", "another text"])', "`FILE` contains one text per line."),
        (
            "series",
            "run.predict(x)",
            "`FILE` contains a table with the columns of the training file",
        ),
        # A task of the user's may have the name of one of the package.
        (
            "mine.py:text",
            "run.predict(x)",
            "`FILE` contains one input per line, as the task",
        ),
        (
            "mine.py:language",
            "run.predict(x)",
            "`FILE` contains one input per line, as the task",
        ),
    ],
)
def test_the_card_names_the_format_of_the_input(run, task, call, file):
    text = use_section(of_task(read_facts(run), task))
    assert call in text
    assert file in text
    assert ("`x` has the same format as the data" in text) == (call == "run.predict(x)")
    trusted = ":" in task
    assert ("executes this code with your permissions" in text) == trusted
    assert ("trust_code=True" in text) == ("--trust-code" in text) == trusted


def test_the_names_are_tasks_of_the_package():
    assert {*TEXTS, *FILES, *GENERATE} - {OWN_TASK} <= set(TASKS)
    assert OWN_TASK not in TASKS


def test_the_caller_says_how_exported_files_are_loaded(run):
    text = model_card(run, "Load `model.pt`.\n")
    assert "## Use\n\n### The files of this folder\n\nLoad `model.pt`.\n\n### lstm_lab" in text
    assert "lstm-lab export" not in text
    without = model_card(run)
    assert "lstm-lab export RUN --to=torch --out=DIR" in without
    assert f"`--to` is one of {', '.join(TARGETS)}." in without


def test_the_files_of_the_run_are_listed(run, series):
    assert "`preprocessing.json`" in model_card(series)
    assert "`preprocessing.json`" not in model_card(run)
