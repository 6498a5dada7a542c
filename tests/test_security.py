"""The promises of docs/security.md that have no test of their own elsewhere."""

import ast
import os
import pickle
import re
from pathlib import Path

import pytest

import lstm_lab as ll

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "lstm_lab").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
SIZES = {"task.length": 4, "model.hidden": 3, "train.steps": 2}


def calls(tree):
    """Yields the name of each function or method that a file calls, with the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else function
            yield name.id if isinstance(name, ast.Name) else name, node


# What these files execute is text of the package with equations of its own cells. No text of a
# user or of a file becomes a part of it.
WRITTEN_HERE = {ROOT / "lstm_lab" / "interop" / "standalone" / "export_text.py"}


def imports(tree):
    """Yields the names of the modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_file_of_the_package_can_unpickle_or_evaluate(path):
    tree = TREES[path]
    assert not {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib"} & set(imports(tree))
    for name, call in calls(tree):
        # A module's own `eval`, as a method, is something else.
        is_builtin = name in ("eval", "exec") and isinstance(call.func, ast.Name)
        assert not is_builtin or path in WRITTEN_HERE
        assert not any(keyword.arg == "allow_pickle" for keyword in call.keywords)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_is_extracted_to_the_paths_of_an_archive(path):
    assert not {"extract", "extractall", "unpack_archive"} & {
        name for name, _ in calls(TREES[path])
    }


def listening():
    """Returns the inodes of the sockets of this process on which it waits for connections."""
    inodes = set()
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        inodes |= {row[9] for row in rows if row[3] == "0A"}
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue  # closed meanwhile
    return inodes & {
        match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, and the sockets that listened after it."""
    before = listening()
    folder = tmp_path_factory.mktemp("run")
    ll.train("adding:lstm", overrides=SIZES, workdir=folder / "w")
    return folder / "w", listening() - before


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs /proc of Linux")
def test_training_listens_to_nobody(trained):
    assert trained[1] == set()


def test_a_run_is_used_without_unpickling(trained, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    run = ll.load_run(trained[0])
    assert run.params
    assert run.predict([run_input()])
    assert run.report().is_file()


def run_input():
    """Returns one input of the task."""
    import numpy as np

    return np.zeros((4, 2), np.float32)


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(named) > 15
    for file, function in named:
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), function
