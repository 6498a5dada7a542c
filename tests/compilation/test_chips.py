"""The numbers of chips: their order, precisions, and the text that describes a GPU."""

import re

import pytest

from lstm_lab.compilation.chips import CHIPS
from lstm_lab.config.sections import ModelSpec


@pytest.mark.parametrize("name", CHIPS)
def test_more_precise_products_are_never_faster(name):
    chip = CHIPS[name]
    rates = [
        chip.flops_per_second(ModelSpec(dtype=dtype, precision=precision))
        for dtype, precision in (
            ("bfloat16", "default"),
            ("float32", "default"),
            ("float32", "high"),
            ("float32", "highest"),
        )
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


def test_the_description_of_a_gpu_has_the_memory_and_bandwidth_of_its_chip():
    for name, share in (("h100", 0.75), ("a100", 0.75)):
        chip = CHIPS[name]
        fields = dict(re.findall(r"(\w+): (\d+)\b", chip.config))
        assert chip.memory == share * int(fields["device_memory_size"])
        assert chip.bandwidth == pytest.approx(int(fields["memory_bandwidth"]), rel=1e-3)
        assert chip.cache == int(fields["l2_cache_size"])
        assert f'"{chip.device.kind}"' in chip.config
        assert chip.config.count("{") == chip.config.count("}")
