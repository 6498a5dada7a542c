"""Settings of JAX before its first use: CPU cores as devices, and the cache of programs."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax


def request_cpu_devices(count: int) -> None:
    """Makes CPU cores usable as devices; takes effect before JAX is first used."""
    jax.config.update("jax_num_cpu_devices", count)


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache, unless JAX's own variables say otherwise."""
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lstm_lab"
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs" / _processor_hash()))
    # Programs that compile faster than this are not worth a file.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor_hash() -> str:
    """Returns a hash of the kind of processor.

    A program for a CPU uses the instructions of that CPU, and a home folder may serve several
    machines, so each kind of processor has a folder of its own.
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.sha256("".join([platform.machine(), *features]).encode()).hexdigest()[:12]
