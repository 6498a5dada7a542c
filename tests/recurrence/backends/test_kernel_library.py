"""The kernel's library: no compiler, a failing one, a damaged or foreign cache."""

import os

import jax.numpy as jnp
import pytest

from lstm_lab.cells import get_variant
from lstm_lab.recurrence import CallSignature, choose, resolve, unsupported_reason
from lstm_lab.recurrence.backends import kernel_library

CALL = CallSignature(get_variant("np").spec, jnp.float32)


@pytest.fixture
def cache(fresh_kernels, tmp_path):
    """An empty cache, and a compiler that takes no time: its library is a copy of a file."""
    fresh_kernels.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "compiled").write_bytes(bytes(range(256)) * 64)
    write_compiler(fresh_kernels, tmp_path, f'for last; do :; done; cp {tmp_path}/compiled "$last"')
    return tmp_path / "lstm_lab" / "kernel"


def write_compiler(monkeypatch, folder, script):
    """Makes a shell script the compiler."""
    path = folder / "fake-cxx"
    # The first call asks for the macros, which end in the name of the empty file.
    path.write_text(f'#!/bin/sh\ncase "$*" in *{os.devnull}) exit 0;; esac\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))


def expect_fallback(reason):
    """`auto` takes another backend and says so once; `native` explains why it cannot run."""
    with pytest.warns(RuntimeWarning, match=reason):
        assert choose(CALL) in ("scan", "fused")
    # Warnings are errors in tests: the second call gives none.
    assert choose(CALL) in ("scan", "fused")
    assert reason in unsupported_reason("native", CALL)
    with pytest.raises(ValueError, match=reason):
        resolve("native", CALL)


def test_without_a_compiler(fresh_kernels):
    fresh_kernels.setenv("CXX", "no-such-compiler")
    expect_fallback("no-such-compiler not found")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'no such option' >&2; exit 1", "no such option"),
        ("exit 1", "without a message"),
        (
            "printf 'In file included from a.h:1:\\nb.h:2: error: no Vec\\n' >&2; exit 1",
            "b.h:2: error",
        ),
    ],
)
def test_a_failing_compiler(cache, fresh_kernels, tmp_path, script, reason):
    write_compiler(fresh_kernels, tmp_path, script)
    expect_fallback(f"fake-cxx failed: {reason}")


def test_the_warning_says_whether_one_cell_is_concerned_or_all(cache, fresh_kernels, tmp_path):
    write_compiler(fresh_kernels, tmp_path, "exit 1")
    with pytest.warns(RuntimeWarning, match="there is no native kernel for this cell"):
        kernel_library.load("struct Cell;")
    fresh_kernels.setenv("CXX", "no-such-compiler")
    kernel_library.compiler.cache_clear()
    with pytest.warns(RuntimeWarning, match="the fast CPU backend `native` is off"):
        kernel_library.load("struct Other;")


def test_a_compiler_that_writes_no_library(cache):
    expect_fallback("invalid ELF header")


def test_a_file_in_place_of_the_cache(cache, tmp_path):
    (tmp_path / "lstm_lab").write_text("")
    expect_fallback("Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_cache_that_cannot_be_written(cache, tmp_path):
    tmp_path.chmod(0o500)
    expect_fallback("Permission denied")


def test_the_library_is_built_once_for_its_user_alone(cache):
    path = kernel_library.build("struct Cell;")
    assert path.parent == cache
    before = path.stat().st_mtime_ns
    assert kernel_library.build("struct Cell;") == path
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in cache.iterdir()] == [path.name]
    assert (cache.stat().st_mode | path.stat().st_mode) & 0o077 == 0


def test_a_library_of_an_open_folder_is_kept_if_it_is_the_users_own(cache):
    path = kernel_library.build("struct Cell;")
    cache.chmod(0o777)
    assert kernel_library.build("struct Cell;") == path
    assert cache.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "planted", "writable"])
def test_a_damaged_or_planted_library_is_built_again(cache, damage, tmp_path):
    path = kernel_library.build("struct Cell;")
    content = path.read_bytes()
    match damage:
        case "truncated":
            # Loading it would end the process with SIGBUS.
            path.write_bytes(content[:5000])
        case "flipped":
            path.write_bytes(content[:-1] + b"?")
        case "planted":
            path.rename(tmp_path / "elsewhere.so")
            path.symlink_to(tmp_path / "elsewhere.so")
        case "writable":
            path.chmod(0o777)
    again = kernel_library.build("struct Cell;")
    assert not again.is_symlink()
    assert again.stat().st_mode & 0o077 == 0
    assert kernel_library._cached(cache, again.name.partition(".")[0]) == again


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_library_or_folder_of_another_user_is_not_loaded(cache):
    path = kernel_library.build("struct Cell;")
    os.chown(path, 1234, 1234)
    again = kernel_library.build("struct Cell;")
    assert again.stat().st_uid == os.geteuid()
    os.chown(cache, 1234, 1234)
    with pytest.raises(kernel_library.KernelError, match="belongs to another user"):
        kernel_library.build("struct Cell;")
