"""Strict surroundings: four CPU devices, no silent broadcasting of ranks; warnings are errors.

Compiled programs are kept in `.pytest_cache`: compiling takes most of the time of the suite, and
many tests, above all those that start processes, compile the same programs. JAX's key of a program
is a hash of the program, the compiler's options and its version, so a changed program is compiled.
"""

import gc
import os
import shutil
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from lstm_lab.recurrence.backends import kernel_library
from tests.helpers.data import write_chorales

# Without XLA's optimizations a program compiles up to six times as fast (docs/benchmarks.md), and
# the suite compiles thousands. A test that compares results bit for bit is marked `optimized`:
# `make test` runs it with XLA's defaults, as users do. `XLA_FLAGS=` in the environment gives all
# tests the defaults. XLA reads them at the first computation.
QUICK = ["--xla_backend_optimization_level=0"]
# Later versions of XLA have no such flag, and end the process at an unknown one.
if version("jaxlib").startswith("0.10."):
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(QUICK))

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# JAX starts here, which fixes the number of devices: verbs of the command line would change it.
jax.devices()

# Tracing makes millions of short-lived objects. With Python's default of 700, the garbage collector
# takes a seventh of the time of the tests.
gc.set_threshold(50_000, 20, 100)

# Programs of earlier versions of the code are never deleted one by one.
LARGEST_CACHE = 2 * 2**30


def pytest_configure(config):
    """Keeps compiled programs in a folder of this worker; an environment that names one wins.

    JAX does not write them atomically, so that no two workers may share a folder. Processes that a
    test starts read the folder from the environment.
    """
    cache = getattr(config, "cache", None)  # absent with `-p no:cacheprovider`
    if cache is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # this process only starts workers, which would inherit its folder
    folder = Path(cache.mkdir(f"programs-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"))
    if sum(path.stat().st_size for path in folder.iterdir()) > LARGEST_CACHE:
        shutil.rmtree(folder)
    settings = {
        "jax_compilation_cache_dir": str(folder),
        # By default JAX keeps only programs that took a second; the tests have many small ones.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    # A process that a test kills may leave half a program. JAX warns and compiles it again.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Frees a module's compiled programs: a process may map only so many pieces of memory."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def fresh_kernels(monkeypatch):
    """Gives a monkeypatch for the compiler and the cache; kernels are looked for again."""

    def forget():
        kernel_library.compiler.cache_clear()
        kernel_library.load.cache_clear()
        kernel_library.load_head.cache_clear()
        kernel_library.load_optimizer.cache_clear()

    forget()
    yield monkeypatch
    monkeypatch.undo()
    forget()


@pytest.fixture
def strict():
    """Implicit dtype promotion raises."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64():
    """Float64 is on."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def chorales(tmp_path):
    """A data folder with a small JSB data set."""
    write_chorales(tmp_path / "data")
    return tmp_path / "data"
