"""A recurrent cell that Equinox lacks, written from the equations that were trained.

`model.py` uses it. `step` holds the equations; the class owns the weights by their names in them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp


def normalize(z):
    """Computes (z - mean) / sqrt(variance + 1e-5) over the last axis."""
    z = z - z.mean(-1, keepdims=True)
    return z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-5)


def step(w, x, state):
    """Computes one time step; an export writes the equations of its cell here."""
    raise NotImplementedError


class EquinoxEquationCell(eqx.Module):
    """A cell with the call of Equinox' own: (x [D], state) -> state.

    Attributes:
      weights: its weights by name.
      state_sizes: widths of the vectors of its state; the first is the output h.
    """

    weights: dict[str, jax.Array]
    state_sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shapes, state_sizes, key):
        keys = jax.random.split(key, len(shapes))
        self.weights = {
            name: 0.1 * jax.random.normal(key, shape)
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        self.state_sizes = tuple(state_sizes)

    def __call__(self, x, state):
        """Returns the new state."""
        return step(self.weights, x, state)
