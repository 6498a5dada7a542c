"""JAX's own reference, Flax's OptimizedLSTMCell and Keras: outputs and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax.experimental.rnn import lstm_ref

from lstm_lab.cells import get_variant
from tests.helpers.peers import (
    LENGTHS,
    B,
    D,
    H,
    T,
    assert_close,
    layer_names,
    reorder,
    run_ours,
    stack,
    to_peer_layout,
    weights_like,
)

LSTM = get_variant("lstm").spec
BACKENDS = ["scan", "fused", "native"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", [np.full(B, T), LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("layers", [1, 2])
def test_stacks_equal_lstm_ref_of_jax(layers, bidirectional, lengths, backend):
    model, params, x = stack(LSTM, layers, bidirectional, backend)
    layer_keys = layer_names(layers, bidirectional)
    width = H * (1 + bidirectional)
    weights = weights_like((T, B, width))
    h, finals, d_params, dx = run_ours(model, params, x, weights, lengths)
    zeros = jnp.zeros((len(layer_keys), B, H))
    real = (np.arange(T)[:, None] < lengths)[..., None]

    def loss(matrices, x):
        wx, wh, b = matrices
        y, h_n, c_n = lstm_ref(
            x.swapaxes(0, 1),
            zeros,
            zeros,
            wx,
            wh,
            b,
            {k: jnp.zeros_like(v) for k, v in b.items()},
            seq_lengths=jnp.asarray(lengths),
            input_size=D,
            hidden_size=H,
            num_layers=layers,
            dropout=0.0,
            bidirectional=bidirectional,
        )
        y = jnp.where(real, y.swapaxes(0, 1), 0.0)
        return (weights * y).sum() + h_n.sum() + c_n.sum(), (y, h_n, c_n)

    def to_reference(params):
        return tuple(
            {
                k: jnp.asarray(to_peer_layout(params[p][name], "ifgo"))
                for k, p in enumerate(layer_keys)
            }
            for name in ("wx", "wh", "b")
        )

    gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, (y, h_n, c_n)), (grads, dx_ref) = gradient(to_reference(params), x)
    flat = [state for directions in finals for state in directions]
    assert_close(h, y, "h")
    assert_close(np.stack([s.h for s in flat]), h_n, "final h")
    assert_close(np.stack([s.c for s in flat]), c_n, "final c")
    assert_close(dx, dx_ref, "gradient of x")
    jax.tree.map(assert_close, to_reference(d_params), grads)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_equals_flax_optimized_lstm_cell(reverse, backend):
    model, params, x = stack(LSTM, 1, reverse, backend)
    layer_key = "layer_0_reverse" if reverse else "layer_0"
    weights = weights_like((T, B, H * (1 + reverse)))
    h, _, d_params, _ = run_ours(model, params, x, weights, LENGTHS)
    rnn = nn.RNN(nn.OptimizedLSTMCell(H), time_major=True, reverse=reverse, keep_order=True)

    def to_reference(p):
        kernels = {f"i{gate}": {"kernel": p["wx"][:, k]} for k, gate in enumerate("ifog")}
        kernels |= {
            f"h{gate}": {"kernel": p["wh"][:, k], "bias": p["b"][k]}
            for k, gate in enumerate("ifog")
        }
        return {"cell": kernels}

    direction = slice(H, 2 * H) if reverse else slice(0, H)
    real = (np.arange(T)[:, None] < LENGTHS)[..., None]

    def loss(variables):
        (_, final_h), y = rnn.apply(
            {"params": variables}, x, seq_lengths=LENGTHS, return_carry=True
        )
        y = jnp.where(real, y, 0.0)
        final_c = rnn.apply({"params": variables}, x, seq_lengths=LENGTHS, return_carry=True)[0][0]
        return (weights[..., direction] * y).sum() + final_h.sum() + final_c.sum(), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(to_reference(params[layer_key]))
    assert_close(h[..., direction], y, "h")
    jax.tree.map(assert_close, to_reference(d_params[layer_key]), grads)


@pytest.mark.parametrize("lengths", [np.full(B, T), LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
def test_a_layer_equals_keras(bidirectional, lengths):
    model, params, x = stack(LSTM, 1, bidirectional)
    layer_keys = layer_names(1, bidirectional)
    inputs, mask = keras.Input((T, D)), keras.Input((T,), dtype="bool")
    layer = keras.layers.LSTM(H, return_sequences=True)
    layer = keras.layers.Bidirectional(layer) if bidirectional else layer
    network = keras.Model([inputs, mask], layer(inputs, mask=mask))
    real = np.arange(T) < lengths[:, None]
    weights = weights_like((T, B, H * (1 + bidirectional)))
    h, _ = model.apply({"params": params}, x, lengths=lengths)

    def to_reference(params):
        order = "ifgo"
        return [
            a
            for layer_key in layer_keys
            for a in (
                reorder(params[layer_key]["wx"], "ifog", order).reshape(D, -1),
                reorder(params[layer_key]["wh"], "ifog", order).reshape(H, -1),
                reorder(params[layer_key]["b"], "ifog", order).reshape(-1),
            )
        ]

    others = [v.value for v in network.non_trainable_variables]

    def loss(variables, x):
        y, _ = network.stateless_call(variables, others, [x.swapaxes(0, 1), real])
        y = jnp.where(real[..., None], y, 0.0).swapaxes(0, 1)
        return (weights * y).sum(), y

    gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, y), (grads, dx_keras) = gradient(to_reference(params), x)

    def loss_of_ours(params, x):
        return (weights * model.apply({"params": params}, x, lengths=lengths)[0]).sum()

    d_params, dx = jax.jit(jax.grad(loss_of_ours, (0, 1)))(params, x)
    assert_close(h, y, "h")
    assert_close(dx, dx_keras, "gradient of x")
    jax.tree.map(assert_close, to_reference(d_params), grads)
