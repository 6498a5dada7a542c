"""The architecture: imports point downward, no cycles, one meaning per class name, a small core."""

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "lstm_lab"

# Lowest layer first: a part imports only from parts before it. docs/design.md explains each.
ORDER = (
    "utils",
    "cells",
    "recurrence",
    "tasks",
    "config",
    "models",
    "train",
    "inference",
    "results",
    "sweep",
    "report",
    "bench",
    "cli",
)
ENTRY_POINTS = {"__init__", "__main__"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_modules(tree):
    """Returns the package's own modules that a file imports, at its top or inside a function."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                modules.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    return {name for name in modules if name.split(".")[0] == "lstm_lab"}


TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
IMPORTS = {name: imported_modules(tree) for name, tree in TREES.items()}


def part(module):
    return [*module.split("."), "__init__"][1]


def test_the_order_lists_every_part_of_the_package():
    assert {part(name) for name in MODULES} - ENTRY_POINTS == set(ORDER)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"lstm_lab", "lstm_lab.__main__"}))
def test_a_module_imports_only_what_lies_below(name):
    level = ORDER.index(part(name))
    below = {m for m in IMPORTS[name] if m != "lstm_lab" and ORDER.index(part(m)) <= level}
    assert IMPORTS[name] == below


def test_no_files_import_each_other_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_one_file_maps_over_devices():
    for path in PACKAGE.rglob("*.py"):
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


def class_names():
    """Returns the modules that define each class name at their top level."""
    defined = defaultdict(list)
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                defined[node.name].append(name)
    return defined
