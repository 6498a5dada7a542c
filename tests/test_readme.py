"""The commands and files of the README work. Slow tests run shortened forms of long commands."""

import re
import shutil
from pathlib import Path

import pytest

from lstm_lab.tasks import TASKS
from lstm_lab.utils.files import read_json
from tests.helpers.data import write_samples
from tests.helpers.docs import LSTM_LAB, run_command, shorten
from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
FILES = {text.splitlines()[0][2:]: text for kind, text in BLOCKS if kind == "python"}
TINY = "--config.task.valid_size=8 --config.task.test_size=8"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with the project's configs and studies, the README's files, and data."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("configs", "experiments"):
        shutil.copytree(ROOT / name, folder / name)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    write_samples(folder / "data")
    return folder


def test_the_readme_names_existing_files_and_verbs():
    files = {"my_config.py", "my_cell.py", "my_script.py", "my_study.py", "majority.py"}
    assert set(FILES) == files
    verbs = {c.split()[1] for c in COMMANDS if c.startswith("lstm-lab")}
    expected = {"train", "sweep", "status", "report", "summary", "check", "compare", "generate"}
    assert verbs == expected
    for config in re.findall(r"`(\w+\.py)`", README):
        assert (ROOT / "configs" / config).exists() or config in FILES, config
    assert COMMANDS[:2] == ["make ablation", "source .venv/bin/activate"]


def test_the_quick_readme_commands_run(clone):
    words = ("summary", "check", "--dry_run", "python")
    quick = [c for c in COMMANDS if any(word in c for word in words)]
    assert len(quick) == 6
    outputs = [run_command(shorten(c), clone) for c in quick]
    assert any("11,416,577" in text for text in outputs)


def test_the_example_config_and_cell_train(clone):
    run_command(shorten("lstm-lab train --config=my_config.py " + TINY), clone)
    command = next(c for c in COMMANDS if "my_cell.py" in c)
    run_command(
        shorten(command) + " --config.model.hidden=4 --config.task.pixels_per_step=8", clone
    )
    coupled = command.replace(":one_gate", ":coupled") + " --config.task.pixels_per_step=8"
    run_command(shorten(coupled), clone)


def test_the_example_task_is_learned(monkeypatch, tmp_path):
    from lstm_lab.config.parsing import build_spec
    from tests.helpers.training import train

    scope = {}
    exec(compile(FILES["majority.py"], "majority.py", "exec", dont_inherit=True), scope)
    monkeypatch.setitem(TASKS, "majority", scope["Majority"])
    spec = build_spec(
        {
            "task": {"name": "majority", "length": 5},
            "model": {"hidden": 16},
            "optim": {"lr": 0.03},
            "train": {"steps": 400, "eval_every": 100},
        }
    )
    assert train([spec], tmp_path).status == "completed"
    assert read_json(tmp_path / "0" / "result.json")["test"]["accuracy"] > 0.95


@pytest.mark.slow
def test_every_readme_command_runs_shortened(clone):
    for command in COMMANDS:
        if re.search(r"(^|\| )lstm-lab", command) and "my_study" not in command:
            run_command(shorten(command), clone)


@pytest.mark.slow
def test_the_readme_studies_run_shortened(clone):
    for name in ("experiments/digits_ablation.py", "my_study.py"):
        short = clone / "experiments" / f"short_{Path(name).stem}.py"
        length = {"epochs": 1} if "digits" in name else {"steps": 2, "eval_every": 1}
        short.write_text(
            "from dataclasses import replace\n"
            "from lstm_lab.config import load_module\nfrom pathlib import Path\n"
            f"whole = load_module(Path({str(clone / name)!r}), 'study').get_study()\n"
            "def get_study():\n"
            f"    whole.base.train = {{'batch_size': 32, **{length!r}}}\n"
            "    tuning = replace(whole.tuning, overrides={})\n"
            "    return replace(whole, tuning=tuning)\n"
        )
        out = run_command(f"{LSTM_LAB} sweep --study={short} --workdir=runs/{short.stem}", clone)
        assert "planned claim" in out
