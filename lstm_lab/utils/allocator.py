"""glibc's malloc, set to keep the memory of large arrays instead of returning it to the system.

XLA allocates the arrays of a compiled call with malloc and frees them at its end. By default glibc
maps each large array anew, and the system fills every page of it with zeros at its first use, which
takes up to half of a training step. docs/benchmarks.md has the times, and the memory that it costs.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Literal

Policy = Literal["keeps memory", "default"]

# Switches the settings off with the value "default".
VARIABLE = "LSTM_LAB_ALLOCATOR"
# glibc reads these variables when a process starts. A user who sets one has chosen.
OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")
# Parameters of mallopt (malloc.h), in the order in which they are set.
SETTINGS = (
    (-8, 1),  # M_ARENA_MAX: one heap for all threads; the heaps of threads cannot grow beyond 64 MB
    (-4, 0),  # M_MMAP_MAX: nothing is mapped, all arrays come from this heap
    (-1, -1),  # M_TRIM_THRESHOLD: the heap never shrinks
    (-2, 1 << 26),  # M_TOP_PAD: it grows by at least 64 MB, so that it has few borders
)

_policy: Policy = "default"


def keep_memory() -> Policy:
    """Makes malloc keep the memory that is freed, for arrays that are allocated from now on.

    It changes no result. It does nothing on systems without glibc, with another allocator that was
    loaded before, with settings of the user for malloc, or with LSTM_LAB_ALLOCATOR=default.

    Returns:
      What malloc does now, as `policy` does.
    """
    global _policy
    if _policy == "default" and _is_ours():
        malloc = ctypes.CDLL(None)
        if all(malloc.mallopt(parameter, value) for parameter, value in SETTINGS):
            _policy = "keeps memory"
    return _policy


def policy() -> Policy:
    """Returns what malloc does with memory that is freed, for the record of a run."""
    return _policy


def _is_ours() -> bool:
    """Returns whether the settings would have an effect, and nobody has made others."""
    if os.environ.get(VARIABLE) == "default":
        return False
    if any(name.startswith(OWN_SETTINGS) for name in os.environ):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    # jemalloc and its like replace malloc by LD_PRELOAD; glibc's settings would do nothing.
    used, own = (ctypes.CDLL(name).malloc for name in (None, "libc.so.6"))
    return ctypes.cast(used, ctypes.c_void_p).value == ctypes.cast(own, ctypes.c_void_p).value
