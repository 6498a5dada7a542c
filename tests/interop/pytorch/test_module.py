"""The text of model.py: what a reader and a linter see."""

import ast
import subprocess
import sys
from dataclasses import replace

import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.pytorch.module import module_form, module_text, state_dict
from tests.helpers.paths import ROOT
from tests.helpers.torch_runs import TASKS, make_run


def text_of(run):
    return module_text(portable_model(run), run.spec.model, run.spec.task.target)


@pytest.mark.parametrize(
    ("form", "model"),
    [
        ("stack", {}),
        ("stack", {"bidirectional": True}),
        ("stack", {"cell": "semeniuta"}),
        ("layers", {"residual": True}),
        ("layers", {"hidden_sizes": (4, 3)}),
        ("layers", {"bidirectional": True, "merge": "sum"}),
        ("cells", {"cell": "vanilla"}),
    ],
)
def test_the_form_follows_from_the_model(form, model):
    assert module_form(portable_model(make_run(**model))) == form


def test_tied_weights_are_stored_once():
    tensors = state_dict(portable_model(make_run(tied=True, embedding=4)))
    assert [name for name in tensors if "lstm" not in name] == ["embedding.weight", "head_bias"]


BOTH = {"bidirectional": True}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Returns a folder with the modules of all cells, and of models of every form."""
    folder = tmp_path_factory.mktemp("modules")
    runs = {name: make_run(cell=name) for name in CATALOGUE if name != "lstm"}
    for cell in ("lstm", "lstmp"):
        for task in TASKS:
            plain = make_run(task, cell=cell)
            for merge in ("concat", "product"):
                for residual in (False, True):
                    settings = {**BOTH, "merge": merge, "residual": residual}
                    model = make_run(task, cell=cell, **settings)
                    runs[f"{cell}_{task}_{merge}_{residual}"] = model
            runs[f"{cell}_{task}"] = plain
    runs["subtract_last"] = make_run("vectors", subtract_last=True)
    runs["tied"] = make_run(tied=True, embedding=4)
    for name, run in runs.items():
        (folder / f"{name}.py").write_text(text_of(run))
    return folder


def test_modules_import_pytorch_and_safetensors_alone(written):
    for path in written.iterdir():
        tree = ast.parse(path.read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        packages = {name.split(".")[0] for name in modules}
        assert packages <= {"__future__", "pathlib", "safetensors", "torch"}, path.name


def test_modules_pass_ruff(written):
    pytest.importorskip("ruff")
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), str(written)]
    for command in (["check"], ["format", "--check", "--diff"]):
        run = [sys.executable, "-m", "ruff", *command, *config]
        process = subprocess.run(run, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout


def test_the_name_of_a_users_cell_has_no_path():
    run = make_run()
    settings = replace(run.spec.model, cell='/home/me/"""/cells.py:mine')
    text = module_text(portable_model(run), settings, run.spec.task.target)
    assert "/home/me" not in text
    assert "2 layers of mine" in text
