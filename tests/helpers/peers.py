"""Helpers of the parity tests: random stacks of lstm_lab, and comparison with a reference."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.models.recurrent import LSTM

T, B, D, H = 9, 5, 6, 20
LENGTHS = np.array([9, 4, 1, 7, 9])


def import_torch():
    """Returns PyTorch. Python 3.12 and later have no small build of it: tests are skipped there,
    if nobody installed it by hand.
    """
    if sys.version_info >= (3, 12):
        return pytest.importorskip("torch", reason="PyTorch is installed by hand here")
    return importlib.import_module("torch")


def stack(spec, layers=1, bidirectional=False, backend="auto", H=H):
    """Returns a stack of lstm_lab with random parameters and biases, and inputs [T,B,D]."""
    model = LSTM(spec, (H,) * layers, bidirectional=bidirectional, backend=backend)
    x = jax.random.normal(jax.random.key(0), (T, B, D))
    params = model.init(jax.random.key(1), x)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [0.4 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
    return model, jax.tree.unflatten(tree, leaves), x


def layer_names(layers, bidirectional):
    """Returns the parameter names of a stack, in PyTorch's order of layers and directions."""
    suffixes = ("", "_reverse")[: 1 + bidirectional]
    return [f"layer_{layer}{suffix}" for layer in range(layers) for suffix in suffixes]


def run_ours(model, params, x, weights, lengths=None, states=None):
    """Returns outputs, final states and the gradients of sum(weights * h) + sum of final states."""

    def loss(params, x):
        h, finals = model.apply({"params": params}, x, states, lengths=lengths)
        ends = sum(s.h.sum() + (0.0 if s.c is None else s.c.sum()) for d in finals for s in d)
        return (weights * h).sum() + ends, (h, finals)

    gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, (h, finals)), (d_params, dx) = gradient(params, x)
    return h, finals, d_params, dx


def weights_like(shape):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), jnp.float32)


def reorder(w, order, target):
    """Reorders the gate axis, second to last, from one order of gates to another."""
    return jnp.stack([w[..., order.index(gate), :] for gate in target], -2)


def to_peer_layout(w, target, order="ifog"):
    """Converts our [D,G,H] or [G,H] to the layout [GH,D] or [GH] of other libraries."""
    w = np.asarray(reorder(w, order, target))
    return w.reshape(-1) if w.ndim == 2 else w.reshape(w.shape[0], -1).T


def assert_close(result, reference, label=""):
    """Asserts an error below 1e-5 of the largest magnitude of the reference."""
    result, reference = np.asarray(result), np.asarray(reference)
    assert result.shape == reference.shape, label
    error = np.abs(result - reference).max() / np.abs(reference).max()
    assert error <= 1e-5, f"{label}: {error:.2g}"
