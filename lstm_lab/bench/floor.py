"""The floor: the matrix products of a layer without any gates, a lower bound of the time in XLA.

In: a case of one plain layer. Out: a function and its arrays. `jax_work.py` compiles it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.bench.cases import Case


def serves(case: Case) -> bool:
    """Returns whether a case has a floor: a layer without lengths, directions or models.

    Args:
      case: the case.
    """
    is_plain = case.layers == 1 and not case.bidirectional and not case.ragged
    return is_plain and not case.is_model and case.cell == "lstm"


def arrays(case: Case) -> tuple[jax.Array, ...]:
    """Returns the arguments of `products`.

    Args:
      case: the case.
    """
    keys = jax.random.split(jax.random.key(0), 4)
    G = 4 * case.H
    return (
        jax.random.normal(keys[0], (case.T * case.B, case.D)),
        jax.random.normal(keys[1], (case.D, G)) / case.D,
        jax.random.normal(keys[2], (case.H, G)) / case.H,
        jax.random.normal(keys[3], (case.T, case.B, case.H)),
    )


def products(case: Case) -> Callable[..., Any]:
    """Returns the function of the matrix products of a pass for each member.

    Products that do not depend on the state are computed for all time steps at once, the others
    step by step, as an LSTM must.

    Args:
      case: the case.
    """
    steps = (case.T, case.B, 4 * case.H)

    # All products are returned: XLA removes what nobody reads.
    def one(x: jax.Array, wx: jax.Array, wh: jax.Array, h: jax.Array) -> Any:
        zx = x @ wx
        _, z = jax.lax.scan(lambda _, h: (None, h @ wh), None, h)
        if case.work == "forward":
            return zx, z
        dz = zx.reshape(steps)
        _, dh = jax.lax.scan(lambda _, dz: (None, dz @ wh.T), None, dz)
        flat = dz.reshape(-1, 4 * case.H)
        dx, dwx = (flat @ wx.T, x.T @ flat)
        dwh = h.reshape(-1, case.H).T @ flat
        return z, dh, dwx, dwh, (dx if case.work == "gradient" else None)

    if case.work != "population":
        return one
    # Each member gets other inputs, or XLA could compute the products once for all of them.
    return lambda *arrays: jax.lax.map(
        lambda k: one(arrays[0] + k, *arrays[1:]), jnp.arange(float(case.members))
    )
