"""A recurrent cell that Flax lacks, written from the equations that were trained.

`model.py` uses it. `step` holds the equations; the class owns the weights by their names in them.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp


def normalize(z):
    """Computes (z - mean) / sqrt(variance + 1e-5) over the last axis."""
    z = z - z.mean(-1, keepdims=True)
    return z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-5)


def step(w, x, state):
    """Computes one time step; an export writes the equations of its cell here."""
    raise NotImplementedError


class LinenEquationCell(nn.RNNCellBase):
    """A cell for `nn.RNN`.

    Attributes:
      shapes: the shapes of its weights by name.
      state_sizes: widths of the vectors of its state; the first is the output h.
    """

    shapes: Mapping[str, tuple[int, ...]]
    state_sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, carry, inputs):
        """Returns the new state and the output h of a time step."""
        normal = nn.initializers.normal(0.1)
        w = {name: self.param(name, normal, tuple(shape)) for name, shape in self.shapes.items()}
        carry = step(w, inputs, carry)
        return carry, carry[0]

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """Returns the zero state."""
        return tuple(jnp.zeros((*input_shape[:-1], size)) for size in self.state_sizes)

    @property
    def num_feature_axes(self):
        """Number of axes of an input of one step."""
        return 1
