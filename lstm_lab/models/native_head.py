"""The compiled call for a head with many classes on CPU: cross-entropy, scores and gradients.

The kernel (recurrence/backends/kernel/head.h) goes through groups of classes, whose numbers stay in
the cache between the products: XLA writes and reads all logits several times. `head.py` calls it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.recurrence import DeviceType, own_device_type
from lstm_lab.recurrence.backends import kernel_library

# Classes from which on it is faster than XLA (docs/benchmarks.md).
LEAST_CLASSES = 3000
# Logits that exist at once, about: 64 MB.
PART = 2**24
# Rows of a part, at least: the gradient of the weights is read and written once for each part.
LEAST_ROWS = 256
LANES = 16  # classes to which the kernel rounds, at most


class HeadResults(NamedTuple):
    """What the kernel computes for each row, and the gradients of the weighted sum.

    Attributes:
      nll, mean_nll, guess: as in `ClassScores`, [N].
      features, kernel, bias: gradients [N,H], [H,C], [C], or arrays of length 0.
    """

    nll: jax.Array
    mean_nll: jax.Array
    guess: jax.Array
    features: jax.Array
    kernel: jax.Array
    bias: jax.Array


def serves(features: jax.Array, classes: int, device: DeviceType | None = None) -> bool:
    """Returns whether the kernel computes a head.

    Args:
      features: what the head reads.
      classes: how many there are.
      device: the type of device for which the head is compiled; None stands for this process's.
    """
    if (device or own_device_type()).platform != "cpu" or features.dtype != jnp.float32:
        return False
    if classes < LEAST_CLASSES or features.size == 0:
        return False
    # Last, because it may compile for seconds. Without a compiler XLA computes the head.
    return kernel_library.load_head()[1] is None


def call(
    features_NH: jax.Array,
    kernel_HC: jax.Array,
    bias_C: jax.Array,
    y_N: jax.Array,
    weight_N: jax.Array,
    *,
    smoothing: float,
    gradients: bool,
) -> HeadResults:
    """Computes the scores of all rows, and on request the gradients of their weighted sum.

        total = sum w ((1 - e) nll + e mean_nll)

    Args:
      features_NH: features, float32.
      kernel_HC, bias_C: weights of the head.
      y_N: the true classes, int32.
      weight_N: w; rows of weight 0 do not count.
      smoothing: e.
      gradients: whether to compute the gradients.
    """
    (N, H), C = features_NH.shape, bias_C.shape[0]
    features_NH, kernel_HC, bias_C, weight_N = (
        array.astype(jnp.float32) for array in (features_NH, kernel_HC, bias_C, weight_N)
    )
    rows = min(max(PART // C, LEAST_ROWS), N)
    rows = -(-N // -(-N // rows))  # parts of about equal length
    weights = [shape if gradients else (0,) for shape in ((N, H), (H, C), (C,))]
    logits = rows, -(-C // LANES) * LANES  # memory that the kernel works in
    results = [
        *(jax.ShapeDtypeStruct((N,), dtype) for dtype in (jnp.float32, jnp.float32, jnp.int32)),
        *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (*weights, logits)),
    ]
    # Members one after another: the kernel already uses all cores for one.
    kernel = jax.ffi.ffi_call("lstm_lab_head", results, vmap_method="sequential")
    arrays = features_NH, kernel_HC, bias_C, y_N.astype(jnp.int32), weight_N
    return HeadResults(*kernel(*arrays, smoothing=np.float32(smoothing))[:-1])
