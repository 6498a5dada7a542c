"""The notebooks run in an empty folder; each has its outputs, and both languages the same code."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

from tests.helpers.paths import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_of(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if "outputs" in cell]


def translations(path):
    return path.with_name(path.name.replace(".zh.ipynb", ".ipynb"))


# jupyter_client warns about connections without encryption, which stay on this machine.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if ".zh." not in p.name], ids=lambda path: path.stem
)
def test_a_notebook_runs(path, tmp_path):
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cells = module.execute(path, tmp_path).cells
    stored = nbformat.read(path, as_version=4).cells
    for new, old in zip(cells, stored, strict=True):
        kinds = [[sorted(out.get("data", {})) for out in c.get("outputs", [])] for c in (new, old)]
        assert kinds[0] == kinds[1], f"run docs/notebooks/execute.py again: {new.source}"


@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if ".zh." in p.name], ids=lambda path: path.stem
)
def test_a_translation_has_the_same_code(path):
    assert code_of(path) == code_of(translations(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_a_badge_and_links_that_exist(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    assert f"blob/main/docs/notebooks/{path.name}" in text
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        assert (path.parent / Path(link)).exists(), link


def test_the_notebooks_are_complete():
    names = {path.stem for path in NOTEBOOKS}
    assert names == {
        "own_cell",
        "own_data",
        "train_inspect_predict",
        "train_inspect_predict.zh",
    }
