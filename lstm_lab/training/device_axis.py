"""The axis of devices that share each batch: which rows a device computes, and sums over devices.

With one device per member there is no such axis (`name` is None) and every method is the identity.
`parallel.py` decides which case a cohort is in; `step.py` and `evaluate.py` only call the methods.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.models.recurrent import States
from lstm_lab.utils.types import PyTree


@dataclass(frozen=True)
class DeviceAxis:
    """Devices that each compute a share of every batch.

    Attributes:
      name: the name of the mapped axis, or None if one device computes whole batches.
    """

    name: str | None = None

    @property
    def size(self) -> int:
        """Number of devices that share a batch."""
        return 1 if self.name is None else lax.axis_size(self.name)

    def rows(self, batch_size: int) -> jax.Array:
        """Returns the indices of the rows of a batch that this device computes.

        Args:
          batch_size: rows of the whole batch, a multiple of the number of devices.
        """
        if self.name is None:
            return jnp.arange(batch_size)
        share = batch_size // self.size
        return lax.axis_index(self.name) * share + jnp.arange(share)

    def sum(self, tree: PyTree) -> PyTree:
        """Returns the sum over devices of every array."""
        return tree if self.name is None else lax.psum(tree, self.name)

    def take_rows(self, states: States | None, rows_B: jax.Array) -> States | None:
        """Returns this device's rows of states that every device holds in full."""
        return states if self.name is None else jax.tree.map(lambda a: a[rows_B], states)

    def merge_rows(
        self, rows: States | None, whole: States | None, rows_B: jax.Array
    ) -> States | None:
        """Returns states of all rows from each device's share, the inverse of `take_rows`.

        Args:
          rows: this device's rows.
          whole: states of all rows, for their shapes.
          rows_B: the indices of this device's rows.
        """
        if self.name is None:
            return rows
        # A sum of arrays that are zero elsewhere, not a gather: JAX then knows that the result is
        # the same on every device.
        scattered = jax.tree.map(lambda a, b: jnp.zeros_like(b).at[rows_B].set(a), rows, whole)
        return lax.psum(scattered, self.name)

    def vary(self, zeros: PyTree) -> PyTree:
        """Marks zeros as different on every device.

        A scan needs a carry of one type: its sums differ between devices, so the zeros that it
        starts from must count as different too.
        """
        if self.name is None:
            return zeros
        index = lax.axis_index(self.name)
        return jax.tree.map(lambda a: a + (0 * index).astype(a.dtype), zeros)


ONE_DEVICE = DeviceAxis()
