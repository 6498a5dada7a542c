"""Every variant on every backend equals the oracle: outputs, final states and all gradients."""

import sys

import jax.numpy as jnp
import pytest

from lstm_lab.cells import CATALOGUE, get_variant
from lstm_lab.recurrence import BACKENDS, CallSignature, unsupported_reason
from lstm_lab.recurrence.steps import LoopShape
from tests.helpers import against_oracle
from tests.helpers.recurrence import noise_of, random_layer

SUPPORTED = [
    (name, backend)
    for name in CATALOGUE
    for backend in BACKENDS[1:]
    if unsupported_reason(
        backend,
        CallSignature(
            get_variant(name).spec, jnp.float32, noise=noise_of(*random_layer(name)[:2]) is not None
        ),
    )
    is None
]


@pytest.fixture(autouse=True)
def small_loops(monkeypatch):
    """Loops of the platform's kind for seven steps: two chunks, of several iterations each.

    On a GPU, an iteration computes several steps. Eight of them, as in training, would leave no
    loop.
    """
    # The package's attribute `unroll` is the function, and hides the module.
    module = sys.modules["lstm_lab.recurrence.unroll"]

    def loop_shape(platform):
        return LoopShape(unrolled=2 if platform == "gpu" else 1, chunk=4)

    monkeypatch.setattr(module, "loop_shape", loop_shape)


@pytest.mark.parametrize("mode", against_oracle.MODES)
@pytest.mark.parametrize(("name", "backend"), SUPPORTED)
def test_every_backend_equals_the_oracle(name, backend, mode):
    against_oracle.check(name, backend, mode)
