"""Descriptions of devices that are not here, for the compiler alone.

In: a `Target`. Out: JAX's devices, for which a program can be compiled and not run. The compilers
are plugins: libtpu for TPUs, NVIDIA's packages for GPUs. Read `build.py` next.
"""

from __future__ import annotations

import importlib.util
import os

import jax
from jax.experimental import topologies

from lstm_lab.compilation.chips import Chip
from lstm_lab.compilation.targets import Target
from lstm_lab.utils.errors import UserError

# The compilers that each extra installs, or one of them.
_PACKAGES = {
    "tpu-check": ("libtpu",),
    "cuda-check": ("jax_cuda12_plugin", "jax_cuda13_plugin"),
}
# Before the plugins are loaded: they look for hardware that is not here.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",  # no question to the server that describes a cloud machine
    # What that server would say; without it, libtpu writes a page of warnings.
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several processes may compile; none opens a TPU
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # no driver is needed
}


def devices_of(target: Target) -> tuple[jax.Device, ...]:
    """Returns descriptions of a target's devices, of all hosts; for `cpu` this process's own.

    Args:
      target: the machine.

    Raises:
      UserError: if the compiler for its chips is not installed, or does not know them.

    Example:
      len(devices_of(find_target("v5e-4")))  # 4
    """
    if target.chip is None:
        return tuple(jax.local_devices()[: target.pool.devices])
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    extra = "cuda-check" if target.chip.config else "tpu-check"
    _expect(extra, target)
    try:
        described = _describe(target, target.chip)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--target={target.name}: the compiler refuses it ({reason}); pip install --upgrade "
            f"'lstm-lab[{extra}]' installs one for this JAX"
        ) from error
    return tuple(described.devices)


def _describe(target: Target, chip: Chip) -> topologies.TopologyDescription:
    if chip.config:
        return topologies.get_topology_desc(
            target.name,
            "cuda",
            target_config=chip.config,
            # Slices, hosts of a slice, GPUs of a host.
            topology=f"1x1x{target.pool.devices}",
        )
    return topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"{target.name.partition('-')[0]}:{'x'.join(map(str, target.grid))}",
        chips_per_host_bounds=_host_grid(target),
    )


def _host_grid(target: Target) -> tuple[int, ...]:
    """Returns how the chips of one host lie."""
    if target.hosts == 1:
        return (*target.grid, 1, 1)[:3]
    return (2, 2, 1)


def _expect(extra: str, target: Target) -> None:
    packages = _PACKAGES[extra]
    if not any(map(importlib.util.find_spec, packages)):
        raise UserError(
            f"--target={target.name} needs {packages[0]}: pip install 'lstm-lab[{extra}]'"
        )
