"""The dense head of a model, and the cross-entropy of its classes without all logits at once.

A language model of V words has B T V logits, far more numbers than the rest of a step. Here they
exist for a part of the rows at a time: `cross_entropy` computes logits, loss and gradients of one
part before it begins the next one, by XLA, or on CPU by a kernel of its own (`native_head.py`).
`training/forward.py` calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.models import native_head
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import ClassScores, class_scores
from lstm_lab.utils.types import PyTree

# Logits of a part, about: 16 MB of float32.
PART = 2**22
# Rows of a part, at least: the gradient of the weights is read and written once per part, which
# takes longer than the products of fewer rows.
LEAST_ROWS = 256


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Outputs:
    """What a model returns before its head is applied: features, and the weights of the head.

        logits = features kernel + bias

    Attributes:
      features: outputs of the last layer, [T,B,H] at every step or [B,H] at the last one.
      kernel: weights [H,C], float32; products have the dtype of the features.
      bias: biases [C], float32.
      device: the type of device for which the program is built, as in `LSTM`.
    """

    features: jax.Array
    kernel: jax.Array
    bias: jax.Array
    # Static: a part of the structure, as the choice of a kernel is one of the program.
    device: DeviceType | None = field(default=None, metadata={"static": True})

    @property
    def native(self) -> bool:
        """Whether the kernel of `native_head.py` computes losses and scores."""
        return native_head.serves(self.features, self.bias.size, self.device)

    def logits(self) -> jax.Array:
        """Returns the float32 logits, batch-major: [B,T,C] or [B,C]."""
        logits = self._logits(self.features)
        return jnp.swapaxes(logits, 0, 1) if logits.ndim == 3 else logits

    def scores(self, y_BT: jax.Array) -> ClassScores:
        """Returns what metrics read of the logits at every step.

        Args:
          y_BT: the true classes.

        Returns:
          The scores of all predictions, [B,T].
        """

        if self.native:
            return jax.tree.map(jnp.transpose, _native_scores(self, y_BT.T))

        def scores(_: None, features_NH: jax.Array, y_N: jax.Array) -> tuple[None, ClassScores]:
            return None, class_scores(self._logits(features_NH), y_N)

        _, scores_TB = _scan_rows(scores, None, self.bias.size, (self.features, y_BT.T))
        return jax.tree.map(jnp.transpose, scores_TB)

    def _logits(self, features: jax.Array) -> jax.Array:
        dtype = features.dtype
        bias = jnp.expand_dims(self.bias.astype(dtype), range(features.ndim - 1))
        logits = features @ self.kernel.astype(dtype) + bias
        # The loss needs float32, whatever the compute dtype.
        return logits.astype(jnp.float32)


def cross_entropy(
    outputs: Outputs, y_BT: jax.Array, weight_BT: jax.Array, smoothing: float = 0.0
) -> tuple[jax.Array, ClassScores]:
    """Computes the cross-entropy of the classes at every step, as a weighted sum.

        total = sum w ((1 - e) nll - e mean_C log p)

    Where it is differentiated, its gradients are computed together with it: the logits are neither
    kept for the backward pass nor computed twice.

    Args:
      outputs: features [T,B,H] and the weights of the head.
      y_BT: the true classes.
      weight_BT: w, the weight of each prediction; one with weight 0 does not count, even if NaN.
      smoothing: e, at least 0 and below 1.

    Returns:
      The sum, float32, and the scores [B,T] of all predictions; only the sum has gradients.

    Example:
      total, scores = cross_entropy(outputs, y_BT, jnp.ones(y_BT.shape))
      loss, perplexity = total / y_BT.size, jnp.exp(scores.nll.mean())
    """
    total, scores_TB = _sum(outputs, y_BT.T, weight_BT.T, smoothing)
    return total, jax.tree.map(jnp.transpose, scores_TB)


# ---- the sum and its gradients

Summed = tuple[jax.Array, ClassScores]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _sum(outputs: Outputs, y_TB: jax.Array, weight_TB: jax.Array, smoothing: float) -> Summed:
    if outputs.native:
        scores_TB = _native_scores(outputs, y_TB)
        return _weighted(scores_TB, weight_TB, smoothing), scores_TB

    def add(
        total: jax.Array, features_NH: jax.Array, y_N: jax.Array, weight_N: jax.Array
    ) -> Summed:
        logits_NC = outputs._logits(features_NH)
        loss, scores = _loss(logits_NC, y_N, weight_N, smoothing)
        return total + loss, scores

    rows = outputs.features, y_TB, weight_TB
    return _scan_rows(add, jnp.float32(0), outputs.bias.size, rows)


def _sum_and_gradients(
    outputs: Outputs, y_TB: jax.Array, weight_TB: jax.Array, smoothing: float
) -> tuple[Summed, tuple[Outputs, jax.Array]]:
    """Returns what `_sum` does, and the gradients of the sum: of `outputs`, and of the weights."""
    compute = _native_gradients if outputs.native else _gradients_by_parts
    (total, scores_TB), grads = compute(outputs, y_TB, weight_TB, smoothing)
    d_weight_TB = jnp.where(weight_TB > 0, scores_TB.smoothed_nll(smoothing), 0.0)
    return (total, scores_TB), (grads, d_weight_TB.astype(weight_TB.dtype))


def _gradients_by_parts(
    outputs: Outputs, y_TB: jax.Array, weight_TB: jax.Array, smoothing: float
) -> tuple[Summed, Outputs]:
    dtype = outputs.features.dtype
    kernel_HC = outputs.kernel.astype(dtype)

    def add(
        carry: PyTree, features_NH: jax.Array, y_N: jax.Array, weight_N: jax.Array
    ) -> tuple[PyTree, PyTree]:
        total, d_kernel, d_bias = carry
        logits_NC = outputs._logits(features_NH)
        loss, scores = _loss(logits_NC, y_N, weight_N, smoothing)
        d_NC = _logit_gradients(logits_NC, y_N, weight_N, smoothing)
        d_bias += d_NC.sum(0)
        # Products of the backward pass have the compute dtype, as those of the forward pass. The
        # sum over all rows is kept in float32.
        d_NC = d_NC.astype(dtype)
        d_kernel += jnp.matmul(features_NH.T, d_NC, preferred_element_type=jnp.float32)
        return (total + loss, d_kernel, d_bias), (scores, d_NC @ kernel_HC.T)

    zeros = jnp.float32(0), jnp.zeros_like(outputs.kernel), jnp.zeros_like(outputs.bias)
    rows = outputs.features, y_TB, weight_TB
    (total, *weights), (scores_TB, features) = _scan_rows(add, zeros, outputs.bias.size, rows)
    d_kernel, d_bias = weights
    grads = replace(outputs, features=features, kernel=d_kernel, bias=d_bias)
    return (total, scores_TB), grads


def _scale_gradients(
    smoothing: float, grads: tuple[Outputs, jax.Array], cotangents: tuple[jax.Array, PyTree]
) -> tuple[Outputs, None, jax.Array]:
    del smoothing
    factor, _ = cotangents
    d_outputs, d_weight_TB = jax.tree.map(lambda g: (factor * g).astype(g.dtype), grads)
    return d_outputs, None, d_weight_TB


_sum.defvjp(_sum_and_gradients, _scale_gradients)


def _loss(
    logits_NC: jax.Array, y_N: jax.Array, weight_N: jax.Array, smoothing: float
) -> tuple[jax.Array, ClassScores]:
    """Returns the sum over rows, and their scores."""
    scores = class_scores(logits_NC, y_N)
    return _weighted(scores, weight_N, smoothing), scores


def _weighted(scores: ClassScores, weight: jax.Array, smoothing: float) -> jax.Array:
    loss = scores.smoothed_nll(smoothing)
    return jnp.where(weight > 0, weight * loss, 0.0).sum()


def _logit_gradients(
    logits_NC: jax.Array, y_N: jax.Array, weight_N: jax.Array, smoothing: float
) -> jax.Array:
    """Returns the gradients [N,C] of the sum: w (p - (1 - e) onehot(y) - e / C)."""
    C = logits_NC.shape[1]
    true_NC = jnp.arange(C)[None] == y_N[:, None]
    target_NC = jnp.where(true_NC, 1.0 - smoothing, 0.0) + smoothing / C
    difference_NC = jax.nn.softmax(logits_NC) - target_NC
    weight_N1 = weight_N[:, None]
    return jnp.where(weight_N1 > 0, weight_N1 * difference_NC, 0.0)


# ---- the kernel


@jax.custom_jvp
def _native_scores(outputs: Outputs, y_TB: jax.Array) -> ClassScores:
    results = _call(outputs, y_TB, jnp.zeros(y_TB.shape), 0.0, gradients=False)
    return _scores(results, y_TB)


@_native_scores.defjvp
def _native_scores_jvp(primals: Any, tangents: Any) -> Any:
    outputs, y_TB = primals
    # Scores are differentiated only where a user does it, so plain JAX is enough.
    return jax.jvp(lambda o: class_scores(o._logits(o.features), y_TB), (outputs,), (tangents[0],))


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _native_gradients(
    outputs: Outputs, y_TB: jax.Array, weight_TB: jax.Array, smoothing: float
) -> tuple[Summed, Outputs]:
    results = _call(outputs, y_TB, weight_TB, smoothing, gradients=True)
    scores_TB = _scores(results, y_TB)
    features = results.features.reshape(outputs.features.shape)
    grads = replace(outputs, features=features, kernel=results.kernel, bias=results.bias)
    return (_weighted(scores_TB, weight_TB, smoothing), scores_TB), grads


@_native_gradients.defjvp
def _native_gradients_jvp(smoothing: float, primals: Any, tangents: Any) -> Any:
    outputs, y_TB, weight_TB = primals
    # The kernel has first derivatives only; those of its results come from the same in plain JAX.
    return jax.jvp(
        lambda o, w: _gradients_by_parts(o, y_TB, w, smoothing),
        (outputs, weight_TB),
        (tangents[0], tangents[2]),
    )


def _call(
    outputs: Outputs, y_TB: jax.Array, weight_TB: jax.Array, smoothing: float, *, gradients: bool
) -> native_head.HeadResults:
    features_NH = outputs.features.reshape(-1, outputs.features.shape[-1])
    return native_head.call(
        features_NH,
        outputs.kernel,
        outputs.bias,
        y_TB.reshape(-1),
        weight_TB.reshape(-1),
        smoothing=smoothing,
        gradients=gradients,
    )


def _scores(results: native_head.HeadResults, y_TB: jax.Array) -> ClassScores:
    # The dtype of `argmax`, which is another one with 64 bits.
    guess = results.guess.astype(jax.dtypes.canonicalize_dtype(jnp.int64))
    rows = results.nll, results.mean_nll, guess
    return ClassScores(*(array.reshape(y_TB.shape) for array in rows))


# ---- parts


def _scan_rows(
    function: Callable[..., tuple[Any, Any]], carry: Any, C: int, arrays_TB: tuple[jax.Array, ...]
) -> tuple[Any, Any]:
    """Calls a function for one part of the rows after another, as `lax.scan` does.

    Args:
      function: (carry, rows [N,...] of each array) -> (carry, results [N,...]).
      carry: the first carry.
      C: classes, which determine how many rows a part has.
      arrays_TB: arrays [T,B,...]; the last part is filled with zeros.

    Returns:
      The last carry, and the results [T,B,...] of all rows.
    """
    T, B = arrays_TB[0].shape[:2]
    rows = T * B
    parts = max(min(-(-rows * C // PART), rows // LEAST_ROWS), 1)
    N = -(-rows // parts)

    def split(array_TB: jax.Array) -> jax.Array:
        flat = array_TB.reshape(rows, *array_TB.shape[2:])
        filled = jnp.pad(flat, [(0, parts * N - rows)] + [(0, 0)] * (flat.ndim - 1))
        return filled.reshape(parts, N, *flat.shape[1:])

    def join(results: jax.Array) -> jax.Array:
        return results.reshape(parts * N, *results.shape[2:])[:rows].reshape(
            T, B, *results.shape[2:]
        )

    xs = tuple(split(array) for array in arrays_TB)
    if parts == 1:
        carry, results = function(carry, *(x[0] for x in xs))
        results = jax.tree.map(lambda a: a[None], results)
    else:
        carry, results = lax.scan(lambda carry, x: function(carry, *x), carry, xs)
    return carry, jax.tree.map(join, results)
