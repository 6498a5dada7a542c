"""The type of a device, of this process or of a description."""

from types import SimpleNamespace

import jax

from lstm_lab.recurrence import DeviceType, device_type, own_device_type


def test_the_type_of_this_process_is_that_of_its_devices():
    assert own_device_type() == DeviceType(
        jax.default_backend(), jax.local_devices()[0].device_kind
    )


def test_a_described_gpu_has_the_platform_of_a_present_one():
    described = SimpleNamespace(platform="cuda", device_kind="NVIDIA H100")
    assert device_type(described) == DeviceType("gpu", "NVIDIA H100")
