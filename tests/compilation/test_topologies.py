"""Descriptions of absent devices, and the error without the compiler for them."""

import importlib.util

import jax
import pytest

from lstm_lab.compilation import topologies
from lstm_lab.compilation.targets import find_target
from lstm_lab.compilation.topologies import devices_of
from lstm_lab.recurrence import device_type
from lstm_lab.utils.errors import UserError
from tests.helpers.compilation import needs_cuda, needs_libtpu


@pytest.mark.parametrize(
    ("name", "extra"), [("v5e-4", "tpu-check"), ("v5p-8", "tpu-check"), ("h100", "cuda-check")]
)
def test_a_missing_compiler_is_one_line_with_the_extra(monkeypatch, name, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"--target={name} needs \w+: .*lstm-lab\[{extra}\]"):
        devices_of(find_target(name))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (jax.errors.JaxRuntimeError("UNKNOWN: no such topology\n  a trace"), "no such topology"),
        (NotImplementedError("UNIMPLEMENTED: compile only"), "UNIMPLEMENTED: compile only"),
    ],
)
def test_what_the_compiler_refuses_is_one_line(monkeypatch, error, reason):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(topologies.topologies, "get_topology_desc", refuse)
    with pytest.raises(UserError, match=r"--target=v5e-4: the compiler refuses it \(") as line:
        devices_of(find_target("v5e-4"))
    assert reason in str(line.value)
    assert "\n" not in str(line.value)


def test_the_devices_of_the_cpu_are_those_of_this_process():
    assert devices_of(find_target("cpu")) == tuple(jax.local_devices())


@needs_libtpu
@pytest.mark.parametrize("name", ["v5e-1", "v5e-4", "v5e-8", "v5e-16", "v5p-8", "v6e-1", "v6e-32"])
def test_a_slice_has_its_chips_and_hosts(name):
    target, devices = find_target(name), devices_of(find_target(name))
    assert len(devices) == target.pool.devices * target.hosts
    assert {device_type(device) for device in devices} == {target.pool.type}
    assert len({device.process_index for device in devices}) == target.hosts


@needs_cuda
@pytest.mark.parametrize("name", ["h100", "h100-4", "a100"])
def test_gpus_have_their_name_and_number(name):
    target, devices = find_target(name), devices_of(find_target(name))
    assert len(devices) == target.pool.devices
    assert {device_type(device) for device in devices} == {target.pool.type}


def test_the_environment_of_the_user_wins(monkeypatch):
    monkeypatch.setenv("TPU_WORKER_ID", "3")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError):
        devices_of(find_target("v5e-4"))
    assert topologies.os.environ["TPU_WORKER_ID"] == "3"
