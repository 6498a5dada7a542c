"""The architecture, read from the source: layers, cycles, class names, and the tests' own layout.

Every rule here is one that a reviewer would otherwise have to check by hand in each change.
"""

import ast
import os
import re
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
    "statistics",
    "results",
    "training",
    "inference",
    "interop",
    "studies",
    "compilation",
    "report",
    "cards",
    "explain",
    "bench",
    "api",
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
    # An import for the type checker alone is not a dependency of the program.
    types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in types_only:
            continue
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
def test_a_module_imports_only_lower_layers(name):
    level = ORDER.index(part(name))
    below = {m for m in IMPORTS[name] if m != "lstm_lab" and ORDER.index(part(m)) <= level}
    assert IMPORTS[name] == below


def test_no_files_import_each_other_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_reports_import_only_parts_that_read_folders():
    """Only `results`, `statistics` and `utils` of the package: no JAX, no sweep."""
    allowed = {"report", "results", "statistics", "utils"}
    for name in (name for name in MODULES if part(name) == "report"):
        assert {part(module) for module in IMPORTS[name]} <= allowed, name


def test_only_one_file_maps_over_devices():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "parallel.py":
            assert not re.search(r"\b(pmap|jax\.shard_map)\b", path.read_text()), path


def test_cells_and_recurrence_import_neither_flax_nor_optax():
    code = (
        "import sys, lstm_lab.cells, lstm_lab.recurrence\n"
        "print({'flax', 'optax', 'orbax', 'ml_collections', 'absl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr


# tensorboardX imports torch if torch is installed.
SLOW = ("matplotlib", "orbax", "pandas", "requests", "scipy", "sklearn", "tensorboardX", "torch")


@pytest.mark.parametrize(
    "code",
    [
        "import lstm_lab.api.training",
        # A change of the number of devices is refused when XLA has started.
        "from lstm_lab.cli import main; main(['summary', 'adding:lstm'])\n"
        "import jax; jax.config.update('jax_num_cpu_devices', 3)",
    ],
    ids=["training", "summary"],
)
def test_training_and_summary_start_without_slow_libraries(code):
    code += f"\nimport sys; print(sorted({{*{SLOW}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


# What only an export, an import or a comparison needs.
OTHER_FRAMEWORKS = ("equinox", "h5py", "keras", "onnx", "onnxruntime", "safetensors")


def test_the_core_imports_no_other_framework(tmp_path):
    code = (
        "import sys, lstm_lab as ll\n"
        "from lstm_lab.cli import main\n"
        # tensorboardX imports it wherever it is installed.
        "sys.modules['torch'] = None\n"
        "assert 'numpy' not in sys.modules and ll.interop and 'numpy' not in sys.modules\n"
        "main(['--help'])\n"
        "assert 'jax' not in sys.modules\n"
        "main(['train', 'adding', '--workdir=w', '--config.train.steps=2',"
        " '--config.train.eval_every=1', '--config.model.hidden=3', '--config.task.length=6'])\n"
        "main(['summary', 'adding'])\n"
        f"print(sorted({{*{OTHER_FRAMEWORKS}}} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr
    assert (tmp_path / "w" / "result.json").exists()


def test_every_class_name_is_unique():
    """A reader who meets a class name anywhere in the package knows which class it is."""
    defined = defaultdict(list)
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                defined[node.name].append(name)
    assert {name: modules for name, modules in defined.items() if len(modules) > 1} == {}


# Test files that test several files together, or files outside the package.
WITHOUT_A_MIRROR = {
    "compilation/test_accelerators.py",
    "configs/test_configs.py",
    "parity/test_jax.py",
    "parity/test_models.py",
    "parity/test_baycomp.py",
    "parity/test_deepsig.py",
    "parity/test_loggers.py",
    "parity/test_huggingface.py",
    "parity/test_equinox_models.py",
    "parity/test_keras_file.py",
    "parity/test_keras_models.py",
    "parity/test_keras_weights.py",
    "parity/test_onnx.py",
    "parity/test_onnx_export.py",
    "parity/test_torch.py",
    "parity/test_torch_export.py",
    "parity/test_readers.py",
    "parity/test_web_page.py",
    "recurrence/test_oracle.py",
    "reliability/test_damage.py",
    "reliability/test_environments.py",
    "reliability/test_fuzz.py",
    "reliability/test_interrupted_search.py",
    "reliability/test_kills.py",
    "tasks/datasets/test_signals.py",
    "tasks/readers/test_user_files.py",
    "test_cells_over_text.py",
    "test_design.py",
    "test_gradient_flow.py",
    "test_imports.py",
    "test_links.py",
    "test_make_gpu.py",
    "test_notebooks.py",
    "test_package.py",
    "test_pages.py",
    "test_readme.py",
    "test_security.py",
    "test_site.py",
    "test_statements.py",
    "test_tutorial.py",
    "training/test_call_chain.py",
    "training/test_streams.py",
}
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_test_file_mirrors_a_file_of_the_package(path):
    """`tests/a/test_b.py` tests `lstm_lab/a/b.py`; `tests/a/test_a.py` tests the package a."""
    relative = path.relative_to(ROOT / "tests")
    mirrored = PACKAGE / relative.parent / relative.name.removeprefix("test_")
    package = mirrored.stem == mirrored.parent.name and mirrored.parent.exists()
    mirrors = mirrored.exists() or package
    assert mirrors != (relative.as_posix() in WITHOUT_A_MIRROR)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_test_file_imports_no_other_test_file(path):
    """Code that several test files need is in tests/helpers, so test files stay independent."""
    imported = {
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    from_tests = {module for module in imported if module.split(".")[0] == "tests"}
    # tests/reliability has programs of its own, which its tests call.
    shared = ("helpers", "reliability")
    assert {m for m in from_tests if m.split(".")[1:2] and m.split(".")[1] not in shared} == set()


def test_no_condition_of_a_module_is_without_effect():
    """`if TYPE_CHECKING: pass` is left over where the last import below it was removed."""
    empty = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If) and all(isinstance(part, ast.Pass) for part in node.body)
    ]
    assert empty == []
