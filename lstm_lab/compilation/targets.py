"""What a program is compiled for: a number of chips.

In: a name such as `v5e-4` or `h100-8`; slices of TPUs also by their accelerator type in Google
Cloud, such as `v5litepod-4`. Out: a `Target`. `topologies.py` describes its devices to JAX.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from lstm_lab.compilation.chips import CHIPS, Chip
from lstm_lab.studies.plan import DevicePool, own_pool
from lstm_lab.utils.errors import unknown

# Slices of a TPU pod: the number in the name, the grid of chips, and the chips of one host. The
# names of v5e and v6e count chips, those of v5p count cores, of which a chip has two
# (https://cloud.google.com/tpu/docs/v5e, /v6e and /v5p).
_Slices = dict[int, tuple[tuple[int, ...], int]]
_FLAT_SLICES: _Slices = {
    1: ((1, 1), 1),
    4: ((2, 2), 4),
    8: ((2, 4), 8),
    16: ((4, 4), 4),
    32: ((4, 8), 4),
    64: ((8, 8), 4),
    128: ((8, 16), 4),
    256: ((16, 16), 4),
}
_CUBIC_SLICES: _Slices = {
    8: ((2, 2, 1), 4),
    16: ((2, 2, 2), 4),
    32: ((2, 2, 4), 4),
    64: ((2, 4, 4), 4),
    128: ((4, 4, 4), 4),
}
_SLICES = {"v5e": _FLAT_SLICES, "v5p": _CUBIC_SLICES, "v6e": _FLAT_SLICES}
_GPUS = (1, 2, 4, 8)  # in one host
# The accelerator type of v5e in `gcloud`; those of v5p and v6e are their names here.
_CLOUD_V5E = "v5litepod-"


class Target(NamedTuple):
    """A machine that need not be here.

    Attributes:
      name: one of `target_names()`.
      pool: the devices of one process: on a TPU pod, those of one host.
      hosts: processes that the machine has room for.
      chip: its chips; None for CPUs, which are those of this machine.
      grid: how the chips of all hosts lie in the pod; () for GPUs and CPUs.

    Example:
      find_target("v5e-16").hosts  # 4, of 4 chips each
    """

    name: str
    pool: DevicePool
    hosts: int = 1
    chip: Chip | None = None
    grid: tuple[int, ...] = ()


def target_names() -> list[str]:
    """Returns the names of all targets.

    Example:
      target_names()[:2]  # ["cpu", "v5e-1"]
    """
    tpus = [f"{chip}-{size}" for chip, slices in _SLICES.items() for size in slices]
    gpus = [_gpu_name(chip, n) for chip in ("h100", "a100") for n in _GPUS]
    return ["cpu", *tpus, *gpus]


def find_target(name: str) -> Target:
    """Returns the target of a name.

    Args:
      name: one of `target_names()`, or `v5litepod-N` for `v5e-N`.

    Raises:
      UserError: for an unknown name, with the known ones.

    Example:
      find_target("v5p-8").pool.devices  # 4: the names of v5p count cores
    """
    if name.startswith(_CLOUD_V5E):
        name = f"v5e-{name.removeprefix(_CLOUD_V5E)}"
    if name not in target_names():
        raise unknown("--target", name, target_names())
    if name == "cpu":
        return Target(name, own_pool())
    family, _, size = name.partition("-")
    chip = CHIPS[family]
    if family not in _SLICES:
        return Target(name, DevicePool(chip.device, int(size or 1), chip.memory), 1, chip)
    grid, per_host = _SLICES[family][int(size)]
    hosts = prod(grid) // per_host
    return Target(name, DevicePool(chip.device, per_host, chip.memory), hosts, chip, grid)


def _gpu_name(chip: str, number: int) -> str:
    return chip if number == 1 else f"{chip}-{number}"
