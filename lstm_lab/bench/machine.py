"""The machine of a measurement: its hardware and the versions of packages.

In: nothing. Out: JSON-ready data, part of every result. A process of its own asks JAX for the
device, so that the bench itself never takes memory of a GPU.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lstm_lab.bench.contenders import settings

PACKAGES = ("jax", "jaxlib", "torch", "flax", "keras", "dm-haiku", "equinox", "onnxruntime")


@cache
def device() -> dict[str, str]:
    """Returns the platform and kind of JAX's first device.

    A separate process asks JAX, since a process that has asked keeps a part of the GPU's memory.
    """
    code = "import jax; d = jax.local_devices()[0]; print(d.platform, d.device_kind)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **settings("lstm_lab")},
    )
    name, kind = process.stdout.strip().split(maxsplit=1)
    return {"platform": name, "device": kind}


def machine() -> dict[str, Any]:
    """Describes the hardware and the versions of packages, without the name of the host.

    Returns:
      JSON-ready; it is part of every result, because times of two machines do not compare.
    """
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **device(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }
