"""Without a compiler or a cache everything works, with one notice."""

import jax
import pytest

from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.training.devices import keep_compiled_programs, prepare_devices
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
