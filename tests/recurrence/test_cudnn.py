"""cuDNN's layer, as far as a machine without a GPU can see: what it is given and what comes back.

`jax.experimental.rnn.lstm_ref`, JAX's statement of what the kernel computes, stands in for it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import rnn

from lstm_lab.cells import find
from lstm_lab.recurrence import choose, cudnn, refusal, unroll
from lstm_lab.stack import LSTM
from tests.recurrence.cases import LENGTHS, B, T, case
from tests.train.helpers import close


@pytest.fixture
def gpu(monkeypatch):
    """What is asked of the kernel; JAX says that it runs on a GPU."""
    asked = []

    def lstm(x, h_0, c_0, weights, seq_lengths, *sizes):
        *sizes, precision = sizes
        asked.append(precision)
        D, H, layers, _, bidirectional = sizes
        unpacked = rnn.unpack_lstm_weights(weights, D, H, layers, bidirectional)
        return rnn.lstm_ref(x, h_0, c_0, *unpacked, seq_lengths, *sizes)

    monkeypatch.setattr(rnn, "lstm", lstm)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    return asked


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_equals_scan(gpu, reverse, stateful, lengths):
    spec, params, x, state = case("np")
    weights = jax.random.normal(jax.random.key(3), (T, B, params["wh"].shape[-1]))

    def loss(params, x, state, backend):
        h, final = unroll(
            spec,
            params,
            x,
            state if stateful else None,
            lengths=None if lengths is None else jnp.array(lengths),
            reverse=reverse,
            backend=backend,
        )
        return (weights * h).sum() + final.h.sum() + jnp.square(final.c).sum(), (h, final)

    run = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    close(run(params, x, state, "cudnn"), run(params, x, state, "scan"))
    assert gpu == [lax.Precision.HIGH]


def test_a_stack_in_both_directions_equals_scan(gpu):
    x = jax.random.normal(jax.random.key(0), (T, B, 4))
    models = [
        LSTM(find("lstm").spec, (6, 6), bidirectional=True, backend=b) for b in ("scan", "cudnn")
    ]
    variables = models[0].init(jax.random.key(1), x)
    expected, found = (model.apply(variables, x, lengths=jnp.array(LENGTHS)) for model in models)
    close(found, expected)
    assert len(gpu) == 4


def test_the_precision_in_force_is_passed_on(gpu):
    spec, params, x, _ = case("np")
    for named, passed in (("highest", "HIGHEST"), ("high", "HIGH"), ("default", "HIGH")):
        with jax.default_matmul_precision(named):
            unroll(spec, params, x, backend="cudnn")
        assert gpu.pop().name == passed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peephole", "peephole: cudnn serves the plain LSTM alone"),
        ("cifg", "gates: cudnn serves"),
        ("gru", "cell: cudnn serves"),
        ("zoneout", "zoneout: cudnn serves"),
        ("layernorm", "layer_norm: cudnn serves"),
    ],
)
def test_what_it_does_not_serve_is_named(gpu, name, said):
    assert said in refusal("cudnn", find(name).spec, jnp.float32)


def test_what_a_call_cannot_have_is_named(gpu):
    spec, params, x, _ = case("np")
    assert "dtype: found bfloat16" in refusal("cudnn", spec, jnp.bfloat16)
    assert "trace: cudnn" in refusal("cudnn", spec, jnp.float32, trace=("i",))
    with pytest.raises(ValueError, match="resets: cudnn takes none"):
        unroll(spec, params, x, resets=jnp.zeros((T, B), bool), backend="cudnn")
    # It was not measured yet.
    assert choose(spec, jnp.float32, 64) == "fused"


def test_without_a_gpu_it_is_refused():
    assert refusal("cudnn", find("np").spec, jnp.float32) == "platform: found cpu, cudnn serves gpu"
    spec, params, x, _ = case("np")
    with pytest.raises(ValueError, match="'cudnn' cannot serve this; platform: found cpu"):
        unroll(spec, params, x, backend="cudnn")


def test_rows_are_flipped_within_their_lengths():
    x = jnp.arange(12.0).reshape(4, 3, 1)
    found = cudnn.flipped(x, jnp.array([4, 2, 0]))[..., 0]
    np.testing.assert_array_equal(found.T, [[9, 6, 3, 0], [4, 1, 7, 10], [2, 5, 8, 11]])
