"""Strict surroundings: four CPU devices, no silent broadcasting of ranks; warnings are errors."""

import gc
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from tests.helpers.data import write_chorales

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Frees a module's compiled programs: a process may map only so many pieces of memory."""
    yield
    jax.clear_caches()
    gc.collect()


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
