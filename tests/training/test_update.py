"""Which optimizer step a training step takes."""

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.config.sections import OptimSpec
from lstm_lab.training.optimizer import build_optimizer, hparams
from lstm_lab.training.update import apply_gradients


@pytest.mark.parametrize(("fields", "by_kernel"), [({}, True), ({"accumulate": 2}, False)])
def test_the_kernel_does_what_it_serves(fields, by_kernel):
    spec, params = OptimSpec(**fields), {"w": jnp.ones(3)}
    numbers = {name: jnp.float32(value) for name, value in hparams(spec).items()}
    state = build_optimizer(spec, numbers, 0).init(params)

    def step(params, state):
        return apply_gradients(spec, numbers, 0, params, jnp.float32(2), state, params)

    text = jax.jit(step).lower(params, state).as_text()
    assert ("lstm_lab_optimizer" in text) == by_kernel
    # Both report the norm of the gradient that was divided by the count.
    assert jax.jit(step)(params, state).grad_norm == pytest.approx(3**0.5 / 2)
