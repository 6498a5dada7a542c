"""What `import lstm_lab` offers, and what the installed package contains."""

import ast
import importlib
import inspect
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import venv
import zipfile
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest

import lstm_lab as ll
from lstm_lab.config.find import list_files, package_folder
from tests.helpers.paths import ROOT

PACKAGES = tuple(
    f"lstm_lab.{name}" for name in ("cells", "interop", "recurrence", "studies", "tasks")
)
MODULES = [p for p in sorted((ROOT / "lstm_lab").rglob("*.py")) if " Example:\n" in p.read_text()]
RESULTS = (ll.Run, ll.Runs, ll.StudyResult, ll.CellComparison, ll.BoundCell)


def test_every_public_name_can_be_used_and_is_declared_for_type_checkers():
    tree = ast.parse((ROOT / "lstm_lab" / "__init__.py").read_text())
    declared = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom)
        for alias in inner.names
    }
    assert declared == set(ll.__all__)
    for name in ll.__all__:
        value = getattr(ll, name)
        assert not inspect.ismodule(value), name
    assert set(ll.__all__) <= set(dir(ll))


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(AttributeError, match="no attribute 'tarin'; did you mean 'train'"):
        ll.tarin  # noqa: B018


def test_the_names_survive_the_use_of_the_package():
    """A subpackage of the same name would replace a function when it is imported."""
    code = (
        "import lstm_lab as ll\n"
        "before = {n: getattr(ll, n) for n in ll.__all__}\n"
        "import pkgutil, importlib\n"
        # What runs in other frameworks alone needs them.
        "others = ('.bench', '.standalone', '__main__')\n"
        "for m in pkgutil.walk_packages(ll.__path__, 'lstm_lab.'):\n"
        "    if not any(part in m.name for part in others):\n"
        "        importlib.import_module(m.name)\n"
        "assert all(getattr(ll, n) is v for n, v in before.items())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _public_objects() -> dict[str, object]:
    """Returns the functions, classes and methods that a user calls, by dotted name."""
    modules = (ll, *map(importlib.import_module, PACKAGES))
    found = {f"{m.__name__}.{name}": getattr(m, name) for m in modules for name in m.__all__}
    # Left out: constants, and aliases of types such as `Backend` and `Params`.
    found = {
        name: value
        for name, value in found.items()
        # Unwrapped, because a function that `jax.jit` or `cache` returns is no function.
        if isinstance(value, type) or inspect.isfunction(inspect.unwrap(value))
    }
    for cls in RESULTS:
        for name, member in vars(cls).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                found[f"{cls.__module__}.{cls.__name__}.{name}"] = member
    return found


PUBLIC = _public_objects()


def _example(doc: str) -> str:
    """Returns the section `Example:` of a docstring; empty if there is none."""
    _, _, rest = inspect.cleandoc(doc).partition("\nExample:\n")
    lines = takewhile(lambda line: not line or line.startswith(" "), rest.splitlines())
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _code_of(example: str) -> str:
    """Returns the code of an example: with prompts, the lines that have one, without it."""
    lines = example.splitlines()
    if not example.startswith(">>>"):
        return example
    return "\n".join(line[4:] for line in lines if line.startswith((">>>", "...")))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring_with_an_example(name):
    # Not `inspect.getdoc`, which returns the docstring of a base class if there is no other.
    assert _code_of(_example(PUBLIC[name].__doc__ or "")), name


def test_every_call_of_a_notebook_names_its_arguments_results_and_errors():
    calls = [o for o in (getattr(ll, name) for name in ll.__all__) if inspect.isfunction(o)]
    # Those that declare a study return what their names say.
    calls = [call for call in calls if not call.__module__.startswith("lstm_lab.studies")]
    assert len(calls) == 9
    missing = [
        f"{call.__name__}: {section}"
        for call in calls
        for section in ("Args", "Returns", "Raises")
        if f"\n    {section}:\n" not in call.__doc__
    ]
    assert not missing


def test_no_name_of_the_package_itself_is_left_out():
    assert {f"lstm_lab.{name}" for name in ll.__all__} <= set(PUBLIC)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_of_every_example_has_no_syntax_error(path):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text())):
        doc = ast.get_docstring(node) if isinstance(node, documented) else None
        code = _code_of(_example(doc or ""))
        try:
            ast.parse(code)
        except SyntaxError as error:
            pytest.fail(f"{path}: {error.msg} in line {error.lineno} of the example\n{code}")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, lstm_lab, lstm_lab.cli\n"
        "heavy = {'jax', 'flax', 'optax', 'numpy', 'scipy', 'matplotlib', 'pandas', 'absl'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_configs_and_studies_are_packages_and_found_by_name():
    assert package_folder("configs") == ROOT / "configs"
    assert {path.stem for path in (ROOT / "configs").glob("[a-z]*.py")} == set(
        list_files("configs")
    )
    assert "digits_ablation" in list_files("experiments")
    assert "long_memory" not in list_files("experiments")  # a helper of other studies


def test_a_file_of_the_working_directory_comes_first(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    mine = Path("configs/adding.py")
    (tmp_path / mine).write_text("def get_config():\n    return {}\n")
    monkeypatch.chdir(tmp_path)
    assert list_files("configs")["adding"] == mine


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the files that git tracks or does not ignore."""
    source = tmp_path_factory.mktemp("source")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("dist")
    code = (
        "import setuptools.build_meta as build\n"
        f"build.build_wheel({str(out)!r})\nbuild.build_sdist({str(out)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_wheel_and_sdist_contain_every_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        installed = set(archive.namelist())
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for folder, target in (
        ("lstm_lab", "lstm_lab"),
        ("configs", "lstm_lab/configs"),
        ("experiments", "lstm_lab/experiments"),
    ):
        for path in (ROOT / folder).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            place = path.relative_to(ROOT / folder)
            assert f"{target}/{place}" in installed, path
            assert f"{folder}/{place}" in packed, path
    assert not any(name.startswith(("configs/", "experiments/", "tests/")) for name in installed)


def test_an_installed_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    run(install)
    # The dependencies are those of this environment. An editable lstm_lab is not among them: it is
    # found by a hook, which the path alone does not install.
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = tmp_path / "env" / "bin" / "lstm-lab"
    short = ["--config.train.steps=2", "--config.train.eval_every=1"]
    done = run([script, "train", "adding:lstm", *short], cwd=folder, env=environment)
    assert "completed after 2 steps" in done.stdout
    dry = [script, "reproduce", "digits_ablation", "--dry-run"]
    assert "72 runs" in run(dry, cwd=folder, env=environment).stdout
    code = "import lstm_lab, lstm_lab.configs.adding as a; print(lstm_lab.__file__, a.__file__)"
    shown = run([python, "-c", code], cwd=folder, env=environment).stdout.split()
    assert all(path.startswith(str(site)) for path in shown)


def test_make_ablation_installs_only_the_package():
    command = ["make", "--dry-run", "--always-make", "ablation"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--editable .\n" in done.stdout
    assert "[dev" not in done.stdout
