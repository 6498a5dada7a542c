"""Cross-entropy of a head by its formula in float64, and random cases."""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.models.head import Outputs, cross_entropy
from lstm_lab.tasks import ClassScores


def draw(seed, T, B, H, C):
    rng = np.random.default_rng(seed)
    outputs = Outputs(rng.normal(size=(T, B, H)), rng.normal(size=(H, C)), rng.normal(size=C))
    return outputs, rng.integers(0, C, (B, T)), rng.random((B, T)) * rng.integers(0, 2, (B, T))


def in_float32(outputs):
    return jax.tree.map(lambda a: jnp.array(a, jnp.float32), outputs)


def formula(outputs, y_BT, weight_BT, smoothing):
    """The sum, its gradients, the scores; NumPy, float64."""
    features, kernel, bias = outputs.features.swapaxes(0, 1), outputs.kernel, outputs.bias
    logits = features @ kernel + bias
    log_p = logits - logits.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    C = len(bias)
    labels = (1 - smoothing) * np.eye(C)[y_BT] + smoothing / C
    total = -(weight_BT * (labels * log_p).sum(-1)).sum()
    d = weight_BT[..., None] * (np.exp(log_p) - labels)
    grads = (d @ kernel.T).swapaxes(0, 1), np.einsum("bth,btc->hc", features, d), d.sum((0, 1))
    nll = -np.take_along_axis(log_p, y_BT[..., None], -1)[..., 0]
    return total, Outputs(*grads), (nll, -log_p.mean(-1), logits.argmax(-1))


def assert_close(values, expected):
    for value, reference in zip(jax.tree.leaves(values), jax.tree.leaves(expected), strict=True):
        scale = max(np.abs(reference).max(), 1.0)
        np.testing.assert_allclose(value, reference, atol=1e-5 * scale)


def assert_weights_have_gradients(outputs, y_BT, weight_BT, smoothing):
    """The gradient of a weight is the loss of its prediction; one of weight 0 has none."""
    weight_BT[1, 2] = 0.0
    losses = ClassScores(*formula(outputs, y_BT, weight_BT, smoothing)[2]).smoothed_nll(smoothing)

    def loss(weight_BT):
        return 3.0 * cross_entropy(in_float32(outputs), jnp.array(y_BT), weight_BT, smoothing)[0]

    gradient = jax.jit(jax.grad(loss))(jnp.array(weight_BT, jnp.float32))
    assert_close(gradient, 3.0 * np.where(weight_BT > 0, losses, 0.0))
