"""Without a compiler or a cache everything works, with one notice."""

import json
import os
import platform
import subprocess
import sys

import jax
import pytest

from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.training.devices import keep_compiled_programs, prepare_devices
from lstm_lab.utils.allocator import OWN_SETTINGS, VARIABLE
from lstm_lab.utils.errors import UserError
from tests.helpers.training import small_spec, train


def test_a_missing_compiler_is_noticed_once_and_training_works(fresh_kernels, tmp_path):
    fresh_kernels.setenv("CXX", "no-such-compiler")
    with pytest.warns(RuntimeWarning, match="no-such-compiler not found"):
        assert train([small_spec()], tmp_path / "0").status == "completed"
    # Warnings are errors in tests: the second run gives none.
    assert train([small_spec(seed=1)], tmp_path / "1").status == "completed"


def test_with_a_compiler_nothing_is_said(tmp_path):
    if kernel_library.compiler()[1] is not None:
        pytest.skip("this machine has no C++ compiler")
    # Warnings are errors in tests.
    assert train([small_spec()], tmp_path).status == "completed"


def test_without_a_folder_for_programs_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("JAX_ENABLE_COMPILATION_CACHE", raising=False)
    (tmp_path / "lstm_lab").write_text("a file in place of the folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="compiled programs are not kept"):
        keep_compiled_programs()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_debug_nans", True),
        ("jax_numpy_dtype_promotion", "strict"),
        ("jax_default_prng_impl", "rbg"),
        ("jax_threefry_partitionable", False),
    ],
)
def test_settings_of_jax_that_exclude_training_are_refused(setting, value):
    earlier = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        with pytest.raises(UserError, match=f"^{setting.upper()}: got {value}, expected"):
            prepare_devices()
    finally:
        jax.config.update(setting, earlier)


@pytest.mark.parametrize("choice", ["default", "keeps memory"])
def test_the_record_says_what_malloc_does(tmp_path, choice):
    if choice == "keeps memory" and platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has these settings")
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith((*OWN_SETTINGS, VARIABLE))
    }
    if choice == "default":
        environment[VARIABLE] = "default"
    flags = ["--config.train.steps=1", "--config.train.eval_every=1", "--config.task.length=3"]
    subprocess.run(
        [sys.executable, "-m", "lstm_lab", "train", "adding", f"--workdir={tmp_path}", *flags],
        env=environment,
        capture_output=True,
        check=True,
    )
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["machine"]["allocator"] == choice
