"""Specs with options beyond the catalogue, and layers with random weights."""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec, MinLSTMSpec, SLSTMSpec
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.portable import PortableLayer

B, D, H = 3, 5, 8

SPECS = {name: variant.spec for name, variant in CATALOGUE.items()} | {
    "gru with the reset before the product": GRUSpec(reset="before"),
    "minlstm with a positive candidate": MinLSTMSpec(candidate="positive"),
    "slstm with heads": SLSTMSpec(heads=2, forget="exponential"),
    "everything normalized": CellSpec(
        layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True, weight_drop=True
    ),
}


def random_layer(spec, numbers):
    """Returns a layer with random weights."""
    drawn = spec.cell.init(spec, jax.random.key(0), D, H)
    params = {name: numbers.normal(size=a.shape).astype(np.float32) for name, a in drawn.items()}
    zx = spec.cell.project(spec, params, jnp.zeros((B, D)))
    state = spec.cell.initial(spec, params, zx, jnp.float32)
    sizes = {k: a.shape[-1] for k, a in state._asdict().items() if a is not None}
    return PortableLayer("layer_0", spec, params, default_rates(spec), False, sizes)
