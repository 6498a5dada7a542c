"""Small random layers for the tests of the recurrence; parameters and states are non-zero."""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import GRUSpec, MGUSpec, MinLSTMSpec, RNNSpec, State, get_variant, masks
from lstm_lab.recurrence import unroll

T, B, D, H = 7, 4, 3, 5
LENGTHS = np.array([7, 0, 3, 1])
RESETS = np.zeros((T, B), bool)
RESETS[[0, 2, 5, 2, 4], [0, 0, 1, 2, 2]] = True

NO_CELL_STATE = (RNNSpec, GRUSpec, MGUSpec, MinLSTMSpec)


def random_layer(name, seed=0, T=T, B=B, D=D, H=H):
    """Returns a variant's spec, random parameters, inputs [T,B,D] and a random state.

    `name` may also be a spec that is not in the catalogue.
    """
    spec = get_variant(name).spec if isinstance(name, str) else name
    params = spec.cell.init(spec, jax.random.key(seed), D, H)
    keys = iter(jax.random.split(jax.random.key(seed + 1), len(params) + 3))
    params = {k: 0.5 * jax.random.normal(next(keys), v.shape) for k, v in params.items()}
    x = jax.random.normal(next(keys), (T, B, D))
    R = spec.cell.emit(spec, params, State(jnp.zeros((1, H)))).h.shape[1]
    h, c = (0.5 * jax.random.normal(next(keys), (B, width)) for width in (R, H))
    return spec, params, x, State(h, None if isinstance(spec, NO_CELL_STATE) else c)


def noise_of(spec, params, T=T, B=B, seed=5):
    """Returns random masks over T steps for a variant with regularization; None for others."""
    keys_B = jax.random.split(jax.random.key(seed), B)
    rates = dict.fromkeys(masks.default_rates(spec), 0.4)
    if "wh" not in params or params["wh"].ndim != 3:
        return None
    noise = masks.draw(spec, rates, keys_B, params, T)
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (T, *a.shape[1:])), noise)


def state_from(spec, params, x, state):
    """Returns the cell's zero state with h and c replaced; some cells carry more than these."""
    zero = spec.cell.initial(spec, params, spec.cell.project(spec, params, x[0]), x.dtype)
    return zero if state is None else zero._replace(h=state.h, c=state.c)


def loss_and_gradients(name, backend, *, T, B, D, H, dtype=jnp.float32, reverse=False):
    """Returns the loss of a layer on ragged rows with resets, and its gradients."""
    spec, params, x, state = random_layer(name, T=T, B=B, D=D, H=H)
    lengths = jax.random.randint(jax.random.key(3), (B,), 0, T + 1)
    resets = jax.random.bernoulli(jax.random.key(4), 0.1, (T, B))
    weights = jax.random.normal(jax.random.key(5), (T, B, state.h.shape[1]))

    def loss(params, x):
        h, final, _ = unroll(
            spec,
            params,
            x.astype(dtype),
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            backend=backend,
        )
        assert h.dtype == dtype
        assert final.c is None or final.c.dtype == jnp.float32
        return (weights * h.astype(jnp.float32)).sum() + final.h.astype(jnp.float32).sum()

    return jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)


def assert_near(outputs, expected, tolerance):
    """Asserts equality within a tolerance of the largest magnitude of each expected array."""

    def check(a, b):
        assert np.abs(a - b).max() <= tolerance * max(np.abs(b).max(), 1e-3)

    jax.tree.map(check, outputs, expected)
