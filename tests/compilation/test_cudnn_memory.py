"""A cuDNN call is traced without a GPU, and only inside the block."""

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.cells import get_variant
from lstm_lab.compilation.cudnn_memory import KEPT, estimated_memory
from lstm_lab.models.recurrent import LSTM
from lstm_lab.recurrence import DeviceType

T, B, D, H = 5, 3, 2, 8


@pytest.mark.parametrize("both", [False, True])
def test_a_call_keeps_numbers_for_each_unit_and_step(both):
    gpu = DeviceType("gpu", "NVIDIA H100 80GB HBM3")
    spec = get_variant("np").spec
    stack = LSTM(spec, (H, H), bidirectional=both, backend="cudnn", device=gpu)
    with estimated_memory():
        variables = jax.eval_shape(stack.init, jax.random.key(0), jnp.zeros((T, B, D)))
        program = str(jax.make_jaxpr(stack.apply)(variables, jnp.zeros((T, B, D))))
    layers = 4 if both else 2
    # JAX holds as many float32 numbers as cuDNN asks for bytes.
    assert f"f32[{4 * KEPT * layers * T * B * H}]" in program
