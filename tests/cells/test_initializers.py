"""Orthogonal matrices: as JAX's own, and never waiting for each other."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, SLSTMSpec, get_variant
from lstm_lab.cells.initializers import orthogonal_matrix

ROOT = Path(__file__).parents[2]
# As many layers as a machine may have cores, more than once: LAPACK's QR hangs here.
LAYERS = """
import jax
from lstm_lab.cells import get_variant
from lstm_lab.models.recurrent import LSTM
x = jax.numpy.zeros((2, 3, 5))
model = LSTM(get_variant("lstm").spec, (48,) * 8)
init = jax.jit(model.init)
for seed in range(10):
    jax.block_until_ready(init(jax.random.key(seed), x))
"""


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (64, 64), (33, 70), (70, 33), (2, 100)])
def test_the_matrix_is_the_q_of_the_qr_decomposition(shape):
    key = jax.random.key(3)
    q = np.asarray(orthogonal_matrix(key, shape), np.float64)
    product = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-6)
    np.testing.assert_allclose(q, jax.nn.initializers.orthogonal()(key, shape), atol=1e-5)


def test_added_columns_are_never_divided_by_their_norm_of_zero():
    """They are cut off at the end, but `jax_debug_nans` would stop at their NaN."""
    with jax.debug_nans(True):
        q = orthogonal_matrix(jax.random.key(0), (70, 33))
    assert np.isfinite(q).all()


INITIALIZERS = [
    CellSpec(init=init)
    for init in ("uniform", "uniform(0.1)", "normal(0.1)", "glorot", "chrono(9)", "janet(9)")
]


@pytest.mark.parametrize(
    "spec",
    [*(get_variant(name).spec for name in CATALOGUE), *INITIALIZERS, SLSTMSpec()],
)
def test_parameters_are_float32_also_if_float64_is_on(x64, spec):
    params = jax.eval_shape(lambda key: spec.cell.init(spec, key, 3, 8), jax.random.key(0))
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype(jnp.float32)}


def test_gates_are_drawn_together():
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key: orthogonal_matrix(key, (40, 40)))(keys)
    alone = jnp.stack([orthogonal_matrix(key, (40, 40)) for key in keys])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_layers_of_a_stack_do_not_wait_for_each_other():
    done = subprocess.run(
        [sys.executable, "-c", LAYERS], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
