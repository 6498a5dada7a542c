"""Imports run downward, and the core needs JAX and NumPy alone."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# What each part may import of the package.
BELOW = {
    "cells": set(),
    "recurrence": {"cells"},
    "regularise": set(),
    "strict": {"errors"},
    "sections": {"recurrence"},
    "stack": {"cells", "recurrence", "regularise"},
    "encoder_decoder": {"cells", "regularise", "stack"},
    "model": {"cells", "recurrence", "regularise", "stack", "encoder_decoder"},
    "errors": set(),
    "progress": set(),
    "tables": set(),
    "files": {"errors"},
    "tasks": {"errors"},
    "optim": set(),
    "config": {
        "cells",
        "recurrence",
        "encoder_decoder",
        "model",
        "tasks",
        "optim",
        "sections",
        "strict",
        "errors",
    },
    "identity": {"cells", "config", "optim"},
    "overrides": {"config", "tasks", "strict", "errors"},
    "shorthand": {"cells", "errors"},
    "summary": {"cells", "config", "optim"},
    "train": {
        "cells",
        "recurrence",
        "encoder_decoder",
        "regularise",
        "stack",
        "config",
        "identity",
        "summary",
        "sections",
        "tasks",
        "optim",
        "errors",
        "files",
        "progress",
    },
    "bench": {
        "cells",
        "recurrence",
        "stack",
        "train",
        "sweep",
        "tasks",
        "files",
        "progress",
        "tables",
    },
    "sweep": {
        "train",
        "config",
        "identity",
        "summary",
        "tasks",
        "files",
        "errors",
        "tables",
        "progress",
    },
    "report": {"sweep", "files", "errors", "progress", "tables"},
    "range_test": {"config", "files", "progress", "report", "tasks", "train"},
    "infer": {"config", "tasks", "train", "errors", "files"},
    "music": {"infer", "config", "tasks", "train", "errors"},
    "generate": {"infer", "config", "tasks", "train", "errors"},
    "studies": {
        "config",
        "model",
        "recurrence",
        "train",
        "sweep",
        "report",
        "errors",
        "progress",
    },
}


def imported(path):
    """Returns the parts of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "lstm_lab":
                names = [f"lstm_lab.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("lstm_lab."))


@pytest.mark.parametrize("part", BELOW)
def test_a_part_imports_only_what_lies_below(part):
    package = ROOT / "lstm_lab"
    paths = [package / f"{part}.py"] if (package / f"{part}.py").exists() else []
    paths += (package / part).glob("*.py")
    assert paths
    for path in paths:
        assert set(imported(path)) <= BELOW[part] | {part}, path


def test_only_one_file_maps():
    for path in (ROOT / "lstm_lab").rglob("*.py"):
        text = path.read_text()
        if path.name != "parallel.py":
            assert "pmap" not in text.replace("pmapped", ""), path


def test_the_core_needs_jax_and_numpy_alone():
    code = (
        "import sys, lstm_lab.cells, lstm_lab.recurrence\n"
        "print({'flax', 'optax', 'orbax', 'ml_collections', 'absl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
