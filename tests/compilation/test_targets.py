"""Machines by name: devices, hosts, and what happens to an unknown name."""

from math import prod

import jax
import pytest

from lstm_lab.compilation.targets import find_target, target_names
from lstm_lab.utils.errors import UserError


@pytest.mark.parametrize(
    ("name", "devices", "hosts"),
    [
        ("v5e-1", 1, 1),
        ("v5e-4", 4, 1),
        ("v5e-8", 8, 1),
        ("v5e-256", 4, 64),
        # Eight cores are four chips.
        ("v5p-8", 4, 1),
        ("v5p-128", 4, 16),
        ("v6e-16", 4, 4),
        ("h100", 1, 1),
        ("h100-8", 8, 1),
    ],
)
def test_a_name_says_how_many_devices_and_hosts_there_are(name, devices, hosts):
    target = find_target(name)
    assert (target.pool.devices, target.hosts) == (devices, hosts)


def test_every_name_is_a_machine():
    for name in target_names():
        target = find_target(name)
        assert target.name == name
        if target.grid:
            per_chip = 2 if name.startswith("v5p") else 1
            assert prod(target.grid) * per_chip == int(name.partition("-")[2])
            assert prod(target.grid) == target.pool.devices * target.hosts
        if target.chip is not None:
            assert target.pool.type == target.chip.device


def test_the_cpu_is_that_of_this_machine():
    target = find_target("cpu")
    assert target.pool.devices == jax.local_device_count()
    assert target.pool.type.platform == "cpu"


def test_a_slice_of_v5e_may_have_its_name_in_the_cloud():
    assert find_target("v5litepod-16") == find_target("v5e-16")
    with pytest.raises(UserError, match=r"--target: got 'v5e-2'; did you mean 'v5e-"):
        find_target("v5litepod-2")


def test_an_unknown_name_is_one_line_with_the_known_ones():
    with pytest.raises(UserError, match=r"--target: got 'h10'; did you mean 'h100'\?") as error:
        find_target("h10")
    assert "v5e-4" in str(error.value)
    assert "\n" not in str(error.value)
