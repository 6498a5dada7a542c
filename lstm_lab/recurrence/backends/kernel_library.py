"""Compiles the C++ kernels with the machine's compiler, and loads them.

In: the generated text of a cell; nothing for a head or an optimizer. Out: the loaded library, or
the reason why there is none. A library is compiled once and kept in the user's cache. Read
kernel/cell.cc and native.py for cells, kernel/head.cc and models/native_head.py for heads,
kernel/optimizer.cc and training/native_optimizer.py for optimizers.
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


class CellKernelError(KernelError):
    """The compiler refuses the text of one cell; others may have a kernel."""


@cache
def compiler() -> tuple[str, str | None]:
    """Returns the path of the C++ compiler, or an empty path and the reason."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path, None
    return "", f"compiler: {named or 'c++, g++ or clang++'} not found, native needs one"


def name(text: str) -> str:
    """Returns the name of a cell's kernel, a hash of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


Loaded = tuple[ctypes.CDLL | None, str | None]  # the library, or the reason why there is none


@cache
def load(text: str) -> Loaded:
    """Loads the kernel of a cell, and registers its calls with JAX.

    Args:
      text: the generated text, see `codegen`.

    Returns:
      The library, or None and the reason. A failure is warned about once: `auto` then takes a
      slower backend.
    """
    calls = (("forward", "LstmLabForward"), ("backward", "LstmLabBackward"))
    return _load("cell.cc", text, {f"lstm_lab_{call}_{name(text)}": s for call, s in calls})


@cache
def load_head() -> Loaded:
    """Loads the kernel of heads with many classes, as `load` that of a cell."""
    return _load("head.cc", "", {"lstm_lab_head": "LstmLabHead"})


@cache
def load_optimizer() -> Loaded:
    """Loads the kernel of optimizers, as `load` that of a cell."""
    return _load("optimizer.cc", "", {"lstm_lab_optimizer": "LstmLabOptimizer"})


def _load(source: str, text: str, symbols: dict[str, str]) -> Loaded:
    """Loads a library, and registers its functions as targets of JAX's calls."""
    try:
        library = ctypes.CDLL(str(build(text, source)))
    except (KernelError, OSError) as error:
        reason = " ".join(str(error).split())
        missing = "the fast CPU backend `native` is off"
        if isinstance(error, CellKernelError):
            missing = "there is no native kernel for this cell"
        warnings.warn(
            f"{missing} ({reason}); `lstm-lab doctor` says more",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, reason
    for target, symbol in symbols.items():
        function = jax.ffi.pycapsule(getattr(library, symbol))
        jax.ffi.register_ffi_target(target, function, platform="cpu")
    return library, None


def build(text: str, source: str = "cell.cc") -> Path:
    """Returns the compiled library of a kernel; compiles it if it is not in the cache.

    Args:
      text: the generated text of a cell; empty for another source.
      source: the file in kernel/ that is compiled.

    Raises:
      KernelError: if there is no compiler, the compiler fails, or the cache cannot be used.
        CellKernelError if the compiler fails at a cell's text alone.
    """
    path, missing = compiler()
    folder, unusable = cache_folder("kernel")
    if missing or unusable:
        raise KernelError(missing or unusable)
    # No -ffast-math: the kernel must treat NaN and infinity as XLA does. Hidden symbols, because a
    # process loads a library for each cell, and tables of the same name must not be shared.
    command = [
        path,
        *("-std=c++20", "-O2", "-march=native", "-fno-math-errno", "-fPIC", "-shared"),
        "-fvisibility=hidden",
        f"-I{jax.ffi.include_dir()}",
    ]
    # The macros name the compiler's version and the instructions that the machine has.
    macros = _run([*command, "-E", "-dM", "-xc++", os.devnull])
    content = b"".join(path.read_bytes() for path in sorted(KERNEL.iterdir()))
    version = jax.__version__.encode()
    parts = macros, content, version, source.encode(), text.encode()
    key = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    return _cached(folder, key) or _compile([*command, str(KERNEL / source)], folder, key, text)


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


def _compile(command: list[str], folder: Path, name: str, text: str) -> Path:
    """Compiles the kernel into the cache."""
    # Next to its target, so that the rename is atomic: another process may compile the same.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        built, cell = Path(temporary) / "kernel.so", Path(temporary) / "cell.h"
        cell.write_text(text)
        failure = CellKernelError if text else KernelError
        _run([*command, f'-DLSTM_LAB_CELL="{cell}"', "-o", str(built)], failure)
        built.chmod(0o700)
        path = folder / f"{name}.{_hash(built)}.so"
        built.replace(path)
    return path


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _run(command: list[str], failure: type[KernelError] = KernelError) -> bytes:
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["without a message"]
        # Lines before the first error name the files that include its own.
        reason = next((line for line in lines if "error:" in line), lines[0])
        raise failure(f"compiler: {command[0]} failed: {reason}")
    return done.stdout
