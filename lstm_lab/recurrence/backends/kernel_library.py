"""Compiles the C++ kernel with the machine's compiler, and loads it.

In: a set of gates. Out: the loaded library, or the reason why there is none. A library is compiled
once and kept in the user's cache. Read kernel/lstm.cc for the kernel, native.py for its calls.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

import jax

from lstm_lab.utils.cache import cache_folder, foreign_reason

KERNEL = Path(__file__).parent / "kernel"


class KernelError(Exception):
    """The kernel cannot be compiled or loaded on this machine; the message says why."""


@cache
def compiler() -> tuple[str, str | None]:
    """Returns the path of the C++ compiler, or an empty path and the reason."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path, None
    return "", f"compiler: {named or 'c++, g++ or clang++'} not found, native needs one"


@cache
def load(gates: int) -> tuple[ctypes.CDLL | None, str | None]:
    """Loads the kernel for a set of gates, and registers its calls with JAX.

    Args:
      gates: the set, as the bits of `NativeStatic.gates`.

    Returns:
      The library, or None and the reason. A failure is warned about once: `auto` then takes a
      slower backend.
    """
    try:
        library = ctypes.CDLL(str(build(gates)))
    except (KernelError, OSError) as error:
        reason = " ".join(str(error).split())
        warnings.warn(
            f"the fast CPU backend `native` is off ({reason}); `lstm-lab doctor` says more",
            RuntimeWarning,
            stacklevel=2,
        )
        return None, reason
    for name, function in (
        ("forward", library.LstmLabForward),
        ("backward", library.LstmLabBackward),
    ):
        target = f"lstm_lab_{name}_{gates}"
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(function), platform="cpu")
    return library, None


def build(gates: int) -> Path:
    """Returns the compiled library for a set of gates; compiles it if it is not in the cache.

    Args:
      gates: the set of gates.

    Raises:
      KernelError: if there is no compiler, the compiler fails, or the cache cannot be used.
    """
    path, missing = compiler()
    folder, unusable = cache_folder("kernel")
    if missing or unusable:
        raise KernelError(missing or unusable)
    # No -ffast-math: the kernel must treat NaN and infinity as XLA does.
    command = [
        path,
        *("-std=c++20", "-O2", "-march=native", "-fno-math-errno", "-fPIC", "-shared"),
        f"-DLSTM_LAB_GATES={gates}",
        f"-I{jax.ffi.include_dir()}",
    ]
    # The macros name the compiler's version and the instructions that the machine has.
    macros = _run([*command, "-E", "-dM", "-xc++", os.devnull])
    content = b"".join(path.read_bytes() for path in sorted(KERNEL.iterdir()))
    version = jax.__version__.encode()
    name = hashlib.sha256(macros + content + version).hexdigest()[:16]
    return _cached(folder, name) or _compile(command, folder, name)


def _cached(folder: Path, name: str) -> Path | None:
    """Returns the library of a name from the cache, if it is whole and this user's own.

    Its file name has the hash of its content: loading a damaged library would end the process, and
    one that another user put there would run with this user's rights.
    """
    for path in folder.glob(f"{name}.*.so"):
        whole = path.name == f"{name}.{_hash(path)}.so"
        if whole and foreign_reason(path) is None:
            return path
    return None


def _compile(command: list[str], folder: Path, name: str) -> Path:
    """Compiles the kernel into the cache."""
    # Next to its target, so that the rename is atomic: another process may compile the same.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        built = Path(temporary) / "kernel.so"
        _run([*command, str(KERNEL / "lstm.cc"), "-o", str(built)])
        built.chmod(0o700)
        path = folder / f"{name}.{_hash(built)}.so"
        built.replace(path)
    return path


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise KernelError(f"compiler: {command[0]} failed: {reason or 'without a message'}")
    return done.stdout
