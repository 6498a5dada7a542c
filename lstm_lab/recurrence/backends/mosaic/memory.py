"""Loads and stores of global memory by a kernel, for all versions of Pallas that are supported."""

from __future__ import annotations

import inspect
from typing import Any

from jax.experimental.pallas import mosaic_gpu as plgpu

from lstm_lab.recurrence.backends.mosaic.primitives import Value

# How the threads hold a tile, which is as tensor cores leave it; one value per row of the batch;
# and a vector of weights.
TILE_LAYOUT = plgpu.Layout.WGMMA
ROW_VALUES_LAYOUT, VECTOR_LAYOUT = TILE_LAYOUT.reduce(0), TILE_LAYOUT.reduce(1)
# Before JAX 0.11, `load` takes an index besides the reference, and there is no `store`.
_LOAD_INDEX = ((),) if "idx" in inspect.signature(plgpu.load).parameters else ()
_STORE = getattr(plgpu, "store", None)


def load(ref: Any, index: Any, layout: Any, *, interpret: bool) -> Value:
    """Loads an array.

    Args:
      ref: global memory.
      index: what to load.
      layout: how the threads hold it.
      interpret: whether the kernel is simulated: JAX 0.10 then has no loads with a layout.
    """
    if interpret:
        return ref[index]
    # Unoptimized: a thread takes two numbers at once, as its layout says, and not four.
    return plgpu.load(ref.at[index], *_LOAD_INDEX, layout=layout, optimized=False)


def store(ref: Any, index: Any, value: Value) -> None:
    """Stores an array in global memory."""
    if _STORE is None:
        ref.at[index][...] = value
    else:
        _STORE(ref.at[index], value, optimized=False)
