"""The type of device for which a program is built; the choice of a backend depends on it.

A program may be compiled for a device that this process does not have (`lstm-lab compile`). So
everything that differs between devices takes the `DeviceType` of its program. What is compiled for
another device never asks JAX which devices are present; None stands for those of this process.
`dispatch.py` is the main reader.
"""

from __future__ import annotations

from typing import NamedTuple

import jax


class DeviceType(NamedTuple):
    """A type of device.

    Attributes:
      platform: `cpu`, `gpu` or `tpu`.
      kind: the vendor's name, such as `TPU v5 lite`; measured times belong to a kind.

    Example:
      DeviceType("tpu", "TPU v5 lite")
    """

    platform: str
    kind: str


def device_type(device: jax.Device) -> DeviceType:
    """Returns the type of a device, present or not.

    Example:
      device_type(jax.local_devices()[0])  # DeviceType(platform="cpu", kind="cpu")
    """
    # A description of an absent GPU has the name of its compiler as its platform.
    platform = "gpu" if device.platform in ("cuda", "rocm") else device.platform
    return DeviceType(platform, device.device_kind)


def own_device_type() -> DeviceType:
    """Returns the type of this process's devices.

    Example:
      own_device_type().platform  # "cpu"
    """
    return device_type(jax.local_devices()[0])
