"""Layers with random weights, without a run."""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.portable import PortableLayer


def layer_of_spec(spec, inputs, units):
    """Returns a layer of a variant whose weights are all different from zero."""
    numbers = np.random.default_rng(0)
    drawn = jax.eval_shape(lambda key: spec.cell.init(spec, key, inputs, units), jax.random.key(0))
    params = {name: numbers.normal(size=a.shape).astype(np.float32) for name, a in drawn.items()}
    x = jnp.zeros((1, inputs))
    zero = spec.cell.initial(spec, params, spec.cell.project(spec, params, x), jnp.float32)
    sizes = {name: a.shape[-1] for name, a in zero._asdict().items() if a is not None}
    return PortableLayer("layer_0", spec, params, default_rates(spec), False, sizes)
