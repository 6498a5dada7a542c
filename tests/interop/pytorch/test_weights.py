"""Weights of PyTorch and ours: the same bits after a round trip, and the gates in their places."""

import jax
import numpy as np
import pytest

from lstm_lab.cells import CellSpec, GRUSpec, RNNSpec
from lstm_lab.interop.pytorch.weights import from_torch, to_torch

D, H = 3, 4
LAYERS = [
    ("LSTM", CellSpec()),
    ("LSTM", CellSpec(projection=0.5)),
    ("GRU", GRUSpec()),
    ("RNN", RNNSpec()),
]


def random_params(spec):
    numbers = np.random.default_rng(0)
    drawn = jax.eval_shape(lambda key: spec.cell.init(spec, key, D, H), jax.random.key(0))
    params = {name: numbers.normal(size=a.shape).astype(np.float32) for name, a in drawn.items()}
    params["b"][0, :2] = -0.0, np.float32(1e-42)  # a sum with 0.0 would lose the sign
    return params


@pytest.mark.parametrize(("layer", "spec"), LAYERS)
def test_a_round_trip_returns_the_same_bits(layer, spec):
    params = random_params(spec)
    back = from_torch(layer, to_torch(layer, params))
    assert back.keys() == params.keys()
    for name, array in params.items():
        assert back[name].tobytes() == array.tobytes(), name
        assert back[name].flags.c_contiguous, name


def test_the_gates_of_an_lstm_are_i_f_g_o():
    params = random_params(CellSpec())
    tensors = to_torch("LSTM", params)
    for row, gate in enumerate((0, 1, 3, 2)):  # ours are i, f, o, g
        rows = slice(row * H, (row + 1) * H)
        np.testing.assert_array_equal(tensors["weight_ih"][rows], params["wx"][:, gate].T)
        np.testing.assert_array_equal(tensors["weight_hh"][rows], params["wh"][:, gate].T)
        np.testing.assert_array_equal(tensors["bias_ih"][rows], params["b"][gate])


def test_two_biases_are_summed_except_the_inner_one_of_a_gru():
    tensors = to_torch("GRU", random_params(GRUSpec()))
    tensors["bias_ih"] = np.arange(3 * H, dtype=np.float32)
    tensors["bias_hh"] = np.full(3 * H, 100.0, np.float32)
    params = from_torch("GRU", tensors)
    np.testing.assert_array_equal(params["b"][:2].ravel(), 100.0 + np.arange(2 * H))
    np.testing.assert_array_equal(params["b"][2], np.arange(2 * H, 3 * H))
    np.testing.assert_array_equal(params["bn"], np.full(H, 100.0))
    tensors["bias_ih"][:] = 0.0
    np.testing.assert_array_equal(from_torch("LSTM", _lstm_like(tensors))["b"], 100.0)


def _lstm_like(tensors):
    """Returns tensors of a GRU as those of an LSTM, with one more gate."""
    return {name: np.concatenate([a, a[:H]]) for name, a in tensors.items()}


def test_a_layer_without_biases_gets_zeros():
    tensors = to_torch("GRU", random_params(GRUSpec()))
    params = from_torch("GRU", {k: a for k, a in tensors.items() if "bias" not in k})
    assert not params["b"].any()
    assert params["bn"].shape == (H,)
    assert not params["bn"].any()
