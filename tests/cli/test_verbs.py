"""Every verb explains itself; studies, users' tasks and single runs work from the command line."""

import json
import os
import subprocess
import sys
from dataclasses import fields

import click
import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.cli import main
from lstm_lab.cli.verbs import app
from lstm_lab.config.find import list_files
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.config.sections import ModelSpec, TrainSpec
from lstm_lab.tasks import TASKS
from lstm_lab.utils.docstrings import attribute_docs
from lstm_lab.utils.files import read_json
from tests.helpers.paths import ROOT

TINY = ["--config.train.steps=4", "--config.train.eval_every=2", "--config.model.hidden=3"]
TINY += ["--config.task.length=6", "--config.task.valid_size=9", "--config.task.test_size=9"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSTM_LAB_DATA", raising=False)


def all_verbs(group=app, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_verbs(command, (*path, name))
        else:
            yield " ".join([*path, name]), command


VERBS = dict(all_verbs())


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_explains_every_flag_with_an_example(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Usage: lstm-lab {name}" in out
    assert f"lstm-lab {name}" in VERBS[name].epilog, "an example of the whole command"
    for option in VERBS[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            assert "e.g. " in option.help, option.name
            assert option.opts[0] in option.help.partition("e.g. ")[2], option.name


@pytest.mark.parametrize("name", VERBS)
def test_the_examples_of_a_verb_have_flags_that_it_accepts(name):
    for line in VERBS[name].epilog.splitlines():
        command = line.partition("lstm-lab ")[2].partition(" >")[0].split()
        flags = {word.partition("=")[0] for word in command if word.startswith("--")}
        flags -= {word for word in flags if word.startswith("--config.")}
        known = {opt for p in VERBS[name].params for opt in p.opts}
        assert flags <= known, line


def test_a_dash_and_an_underscore_name_the_same_flag(capsys):
    for flag in ("--dry-run", "--dry_run"):
        assert main(["reproduce", "digits_ablation", flag]) == 0
    first, second = capsys.readouterr().out.split("Twelve")[1:] or ("", "")
    assert first or not second
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("variants", list(CATALOGUE)),
        ("configs", list(list_files("configs"))),
        ("tasks", list(TASKS)),
        ("studies", list(list_files("experiments"))),
    ],
)
def test_list_has_every_name_with_a_description(kind, names, capsys):
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 2 for line in lines)


def test_show_prints_equations_and_parameters(capsys):
    assert main(["show", "peephole"]) == 0
    out = capsys.readouterr().out
    assert "p_o * c" in out
    assert "Gers and Schmidhuber 2000" in out


def test_show_prints_the_kernel_of_a_variant_and_of_a_users_cell(tmp_path, capsys):
    assert main(["show", "gru", "--kernel"]) == 0
    text = capsys.readouterr().out
    assert "struct Forward0 {" in text
    assert "tanh(" in text
    path = tmp_path / "cells.py"
    path.write_text(
        "from dataclasses import replace\n"
        "import jax.numpy as jnp\n"
        "from lstm_lab.cells import CellSpec\n"
        "from lstm_lab.cells.gated import GATED_LSTM\n"
        "def pointwise(spec, params, zx, zh, state, noise=None):\n"
        "    state, gates = GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)\n"
        "    return state._replace(h=jnp.cumsum(state.h, 1)), gates\n"
        "cell = CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise))\n"
        "twice = CellSpec(gates='f')\n"
    )
    assert main(["show", f"{path}:twice", "--kernel"]) == 0
    assert "struct Backward0 {" in capsys.readouterr().out
    assert main(["show", str(path), "--kernel"]) == 2
    assert "has no kernel; primitive: got cumsum" in capsys.readouterr().err


def test_config_show_tells_what_the_files_determine(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a film,0\nno film,1\n" * 5)
    config = f"{ROOT / 'configs' / 'imdb.py'}:{path}"
    assert main(["config", "show", config, "--config.task.keep=first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    origins = {line.split()[0]: line.rpartition("  ")[2] for line in lines}
    assert origins["task.labels"] == origins["task.sha256"] == "files"
    assert origins["task.train"] == "config"
    assert origins["task.keep"] == "command line"
    assert origins["task.text"] == "default"


def test_config_show_tells_where_each_value_comes_from(capsys):
    assert main(["config", "show", "adding:gru", "--config.optim.lr=0.25"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["optim.lr"][1:] == ["0.25", "command", "line"]
    assert rows["model.cell"][1:] == ["gru", "config"]
    assert rows["model.layers"][1:] == ["1", "default"]


def test_config_show_explains_a_section_or_a_setting(capsys):
    """In the words of the sections, from which the reference is made."""
    assert main(["config", "show", "adding:gru", "model", "--config.model.layers=2"]) == 0
    shown = capsys.readouterr().out
    paths = [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")]
    # Each setting has its own line, also those whose meaning is one text.
    assert paths == [f"model.{field.name}" for field in fields(ModelSpec)]
    assert "model.layers = 2  (command line)\n  number of stacked layers.\n" in shown
    assert "model.dropout_in = 0.0  (default)\nmodel.dropout_out = 0.0  (default)\n  drop" in shown
    for name in ("train.patience", "patience", "early_stopping"):
        assert main(["config", "show", "adding", name]) == 0
        meaning = attribute_docs(TrainSpec)["patience"]
        assert capsys.readouterr().out == f"train.patience = None  (default)\n  {meaning}\n"
    assert main(["config", "show", "adding", "optim.name"]) == 0
    assert "  the optimizer. One of adam, adamw, sgd, rmsprop.\n" in capsys.readouterr().out
    assert main(["config", "show", "adding", "task"]) == 0
    assert "task.length = 100  (config)\n  number of steps of a seq" in capsys.readouterr().out
    assert main(["config", "show", "adding", "patiense"]) == 2
    assert "got 'patiense'; did you mean 'train.patience'? exp" in capsys.readouterr().err


@pytest.mark.parametrize("section", [RunSpec, *SECTIONS.values(), *TASKS.values()])
def test_every_setting_has_a_meaning(section):
    assert {field.name for field in fields(section) if field.init} <= set(attribute_docs(section))


def test_doctor_names_what_is_missing_and_how_to_get_it(capsys, fresh_kernels):
    fresh_kernels.setenv("CXX", "no-such-compiler")
    fresh_kernels.setattr("lstm_lab.cli.installation.EXTRAS", {"music": "no_such_module"})
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "no-such-compiler not found" in out
    assert "install g++ or clang++" in out
    assert 'pip install "lstm-lab[music]"' in out


def test_every_extra_that_doctor_names_is_declared():
    from importlib.metadata import metadata

    from lstm_lab.cli.installation import EXTRAS

    assert set(EXTRAS) <= set(metadata("lstm-lab").get_all("Provides-Extra"))


def test_a_single_run_is_reported_and_listed(capsys):
    assert main(["train", "adding", *TINY, "--workdir=runs/a"]) == 0
    out = capsys.readouterr().out
    assert "lstm-lab report --workdir=runs/a" in out
    assert main(["report", "--workdir=runs/a"]) == 0
    out = capsys.readouterr().out
    assert "trivial: constant" in out
    with open("runs/a/report/report.html", encoding="utf-8") as file:
        page = file.read()
    assert "<svg" in page
    assert "model.hidden" in page
    assert main(["list", "runs"]) == 0
    assert "runs/a" in capsys.readouterr().out


def test_a_study_predicts_with_its_best_run_or_the_named_one(capsys):
    assert main(["train", "adding", *TINY, "--seeds=2", "--workdir", "s"]) == 0
    results = {p.parent.name: read_json(p) for p in sorted_results("s")}
    best = min(results, key=lambda name: results[name]["best"]["valid"]["mse"])
    (other,) = set(results) - {best}
    with open("x.txt", "w", encoding="utf-8") as file:
        file.write(" ".join(["0.5 1"] * 6) + "\n")
    capsys.readouterr()
    outputs = {}
    for name, flags in (("default", []), ("best", [f"--run={best}"]), ("other", ["--run", other])):
        assert main(["predict", "--workdir=s", "--input=x.txt", *flags]) == 0
        outputs[name] = json.loads(capsys.readouterr().out)["values"]
    assert outputs["default"] == outputs["best"] != outputs["other"]
    assert main(["predict", "--workdir=s", "--input=x.txt", "--run=0"]) == 2
    assert "--run: got '0'" in capsys.readouterr().err


def sorted_results(folder):
    from pathlib import Path

    return sorted(Path(folder).glob("runs/*/result.json"))


STUDY = """
import lstm_lab as ll


def get_study():
    base = {{
        "task": {{"name": "adding", "length": 4, "valid_size": 9, "test_size": 9}},
        "model": {{"hidden": 3}},
        "train": {{"batch_size": 8, "steps": 4, "eval_every": 2}},
    }}
    axes = (ll.grid("model.cell", ("lstm", "gru")),)
    return ll.Study("claimed", base, axes, (0, 1), baseline="lstm", claims=({claims},))
"""


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ("ll.Scores('gru', 'mse', at_most=99.0)", 0),
        ("ll.Scores('gru', 'mse', at_most=-1.0)", 1),
        ("ll.Equivalent('lstm', 'gru', margin=1e-9)", 3),
        ("ll.Scores('gru', 'mse', at_most=-1.0), ll.Equivalent('lstm', 'gru', margin=1e-9)", 1),
    ],
)
def test_the_exit_code_of_reproduce_tells_what_became_of_the_claims(claims, code, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(STUDY.format(claims=claims))
    # Without `=`: the folder has to be used all the same.
    assert main(["reproduce", "mine", "--workdir", "there"]) == code
    assert (tmp_path / "there" / "study.json").exists()
    assert not (tmp_path / "runs").exists()


TASK = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax

from helper import is_majority
from lstm_lab.tasks import Bernoulli, Dataset, Examples, Task, Tokens


@dataclass(frozen=True)
class Majority(Task):
    """Whether most bits of a sequence are ones."""

    length: int = 20

    inputs: ClassVar[Tokens] = Tokens(2)
    target: ClassVar[Bernoulli] = Bernoulli(1)
    metric: ClassVar[str] = "accuracy"

    def sample(self, key):
        x_T = jax.random.bernoulli(key, 0.5, (self.length,)).astype(int)
        return Examples(x_T, is_majority(x_T).astype(int))

    def load(self, data_dir):
        keys = jax.random.split(jax.random.key(2**31), (2, 50))
        valid, test = (jax.device_get(jax.vmap(self.sample)(k)) for k in keys)
        return Dataset({"valid": valid, "test": test})
'''


def test_a_users_task_trains_from_any_file_and_its_run_keeps_a_copy(tmp_path, capsys):
    (tmp_path / "helper.py").write_text(
        "def is_majority(x_T):\n    return 2 * x_T.sum(keepdims=True) > len(x_T)\n"
    )
    (tmp_path / "my_task.py").write_text(TASK)
    (tmp_path / "my_config.py").write_text(
        "def get_config():\n"
        "    return {'task': {'name': 'my_task.py:Majority', 'length': 5},\n"
        "            'model': {'hidden': 8}, 'optim': {'lr': 0.03},\n"
        "            'train': {'steps': 300, 'eval_every': 100}}\n"
    )
    assert main(["train", "my_config.py", "--workdir=w"]) == 0
    assert read_json(tmp_path / "w" / "result.json")["test"]["accuracy"] > 0.9
    head = read_json(tmp_path / "w" / "run.json")
    assert head["spec"]["task"]["name"] == "my_task.py:Majority"
    assert head["spec"]["task_sha256"]
    # Two seeds load the file several times; their tasks are equal and share one program.
    assert main(["train", "my_config.py", "--config.train.steps=2", "--config.train.eval_every=1",
                 "--seeds=2", "--workdir=s"]) == 0  # fmt: skip
    assert len(read_json(tmp_path / "s" / "study.json")["cohorts"]) == 1
    # The copy in the run's folder answers, also after the file has changed.
    (tmp_path / "my_task.py").write_text(TASK.replace("length: int = 20", "length: int = 7"))
    capsys.readouterr()
    (tmp_path / "bits.txt").write_text("1 1 1 0 1\n0 0 1 0 0\n")
    assert main(["predict", "--workdir=w", "--trust-code", "--input=bits.txt"]) == 0
    answers = [
        json.loads(line)["probabilities"][0] for line in capsys.readouterr().out.split("\n")[:2]
    ]
    assert answers[0] > 0.5 > answers[1]
    assert main(["train", "w/run.json", "--trust-code", "--workdir=again"]) == 2
    assert "my_task.py:Majority has changed since that run" in capsys.readouterr().err
    assert main(["train", "my_config.py", "--config.task.name=my_task.py:Majorty"]) == 2
    assert (
        "task.name: my_task.py: got 'Majorty'; did you mean 'Majority'" in capsys.readouterr().err
    )


def test_a_shell_completes_the_names_of_configs(tmp_path):
    environment = {
        **os.environ,
        "_LSTM_LAB_COMPLETE": "bash_complete",
        "COMP_WORDS": "lstm-lab train ad",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lstm_lab"], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "plain,adding"
    assert main(["completion", "bash"]) == 0
