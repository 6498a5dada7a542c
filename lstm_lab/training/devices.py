"""Settings before the first use of JAX: CPU cores as devices, the cache of programs, malloc."""

from __future__ import annotations

import hashlib
import os
import platform
import warnings
from pathlib import Path

import jax

from lstm_lab.utils.allocator import keep_memory
from lstm_lab.utils.cache import cache_folder
from lstm_lab.utils.errors import UserError

# Settings of JAX, each also an environment variable: the value that training needs, and why.
REQUIRED = {
    "jax_enable_x64": (False, "training computes in float32"),
    "jax_debug_nans": (
        False,
        "values that do not exist yet are NaN; a run that diverges reports its first NaN itself",
    ),
    "jax_numpy_dtype_promotion": ("standard", "optax mixes dtypes"),
    "jax_default_prng_impl": ("threefry2x32", "a seed would give other numbers"),
    "jax_threefry_partitionable": (
        True,
        "a seed would give other numbers, and those of a unit would depend on the number of units",
    ),
    "jax_transfer_guard": (None, "training moves arrays to the devices and back"),
}


def prepare_devices(count: int | None = None, default: int | None = None) -> None:
    """Makes CPU cores JAX devices, turns on the cache of compiled programs, and sets malloc.

    Accelerators are not affected. Once JAX has been used, its devices are fixed.

    Args:
      count: the number of devices that the user asks for, or None.
      default: the number otherwise; None is the number of cores of this process.

    Raises:
      UserError: if a number is asked for and JAX already has another one, or a setting of JAX
        excludes training.
    """
    check_numerics()
    keep_memory()
    keep_compiled_programs()
    # The cores of this process, not of the machine: `sweep --jobs` pins each worker to its share,
    # and clusters limit jobs in the same way.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        jax.config.update("jax_num_cpu_devices", count or default or cores or 1)
    except RuntimeError:
        # JAX has started, as in a notebook that has made an array: use the devices that it has.
        if count is not None and count != jax.local_device_count("cpu"):
            raise UserError(
                f"devices: got {count}, but JAX has started with "
                f"{jax.local_device_count('cpu')}; set it in the first call"
            ) from None


def check_numerics() -> None:
    """Raises UserError for settings of JAX under which training fails, or gives other results."""
    for name, (expected, reason) in REQUIRED.items():
        # A later version of JAX may lack a setting: it then does what was the default.
        if (value := getattr(jax.config, name, expected)) != expected:
            raise UserError(f"{name.upper()}: got {value}, expected {expected}: {reason}")


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache, unless JAX's own variables say otherwise."""
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return
    folder, reason = cache_folder(f"programs/{_processor_hash()}")
    if reason is not None:
        # JAX would warn for each program.
        warnings.warn(f"compiled programs are not kept ({reason})", RuntimeWarning, stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
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
