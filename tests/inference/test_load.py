"""A run's folder may come from somebody else: its code runs only if the user allows it."""

import json
import shutil
from pathlib import Path

import pytest

import lstm_lab as ll
from lstm_lab.cli import main
from lstm_lab.inference.load import load_run
from lstm_lab.utils.errors import UserError

CELL = "from lstm_lab.cells import CellSpec\nmine = CellSpec(gates='io', coupled=True)\n"
# Code that leaves a trace where it runs.
EVIL = "open('it_ran', 'w').close()\n" + CELL
SIZES = {"task.length": 4, "model.hidden": 3, "train.steps": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of a run with a cell of the user's own, and of one of the catalogue."""
    place = tmp_path_factory.mktemp("runs")
    (place / "my_cell.py").write_text(CELL)
    own = {**SIZES, "model.cell": f"{place}/my_cell.py:mine"}
    ll.train("adding", overrides=own, workdir=place / "own")
    ll.train("adding:lstm", overrides=SIZES, workdir=place / "catalogue")
    return place


@pytest.fixture
def foreign(trained, tmp_path, monkeypatch):
    """Copies of both folders in the current folder, as if they came from somebody else."""
    monkeypatch.chdir(tmp_path)
    for name in ("own", "catalogue"):
        shutil.copytree(trained / name, name)
    return tmp_path


def test_the_code_of_a_foreign_run_needs_permission(foreign, capsys):
    with pytest.raises(UserError, match="add --trust-code"):
        load_run(Path("own"))
    with pytest.raises(UserError, match="trust_code=True"):
        _ = ll.load_run("own").params
    assert main(["predict", "--workdir=own"]) == 2
    assert main(["train", "own/run.json"]) == 2
    assert main(["summary", "own/run.json"]) == 2
    assert main(["config", "show", "own/run.json"]) == 2
    assert capsys.readouterr().err.count("--trust-code") == 4
    assert load_run(Path("own"), trust_code=True).spec.model.cell == "own/cell.py:mine"
    assert main(["summary", "own/run.json", "--trust-code"]) == 0


def test_what_needs_no_code_needs_no_permission(foreign):
    run = ll.load_run("own")
    assert run.metrics
    assert run.report().is_file()


def test_a_cell_file_beside_a_run_of_the_catalogue_never_runs(foreign):
    Path("catalogue/cell.py").write_text(EVIL)
    Path("catalogue/task.py").write_text(EVIL)
    assert load_run(Path("catalogue"), trust_code=True).spec.model.cell == "lstm"
    assert not Path("it_ran").exists()


@pytest.mark.parametrize("change", ["replaced", "missing", "hash"])
def test_a_changed_copy_does_not_run_even_with_permission(foreign, change):
    copy = Path("own/cell.py")
    match change:
        case "replaced":
            copy.write_text(EVIL)
        case "missing":
            copy.unlink()
        case "hash":
            head = json.loads(Path("own/run.json").read_text())
            del head["spec"]["cell_sha256"]
            Path("own/run.json").write_text(json.dumps(head))
    with pytest.raises(UserError, match="is not the copy of"):
        load_run(Path("own"), trust_code=True)
    assert not Path("it_ran").exists()


def test_json_alone_runs_nothing(foreign, capsys):
    Path("evil.py").write_text(EVIL)
    for section, key in (("model", "cell"), ("task", "name")):
        head = json.loads(Path("catalogue/run.json").read_text())
        head["spec"][section][key] = f"{foreign}/evil.py:mine"
        Path("own/run.json").write_text(json.dumps(head))
        assert main(["train", "own/run.json"]) == 2
        assert main(["predict", "--workdir=own"]) == 2
        # Another cell replaces the one in the file, and so its code; the task stays.
        replaced = "--config.model.cell=lstm"
        assert main(["summary", "own/run.json", replaced]) == (0 if section == "model" else 2)
    assert not Path("it_ran").exists()
