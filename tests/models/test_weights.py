"""Weights by name: the names are those of Flax, and the tree comes back as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lstm_lab.config.parsing import build_spec
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.models.weights import check_finite, named_weights, tree_of_weights
from lstm_lab.utils.errors import UserError


def params_of(**model):
    config = {"task": {"name": "counting"}, "model": {"hidden": 4, **model}, "train": {"epochs": 1}}
    spec = build_spec(config)
    return build_model(spec).init(jax.random.key(0), zero_inputs(spec.task, 2, 4))["params"]


@pytest.mark.parametrize("model", [{"layers": 11}, {"bidirectional": True, "cell": "slstm"}])
def test_weights_have_the_names_of_flax_and_come_back_as_they_were(model):
    params = params_of(**model)
    weights = named_weights(params)
    assert weights.keys() == flatten_dict(params, sep="/").keys()
    assert all(isinstance(weight, np.ndarray) for weight in weights.values())
    # Any order will do.
    backwards = dict(reversed(weights.items()))
    again = tree_of_weights(backwards, jax.eval_shape(lambda: params))
    assert jax.tree.structure(again) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_weights_take_the_dtype_of_the_model():
    params = {"head": {"kernel": np.ones((2, 3), np.float32)}}
    for dtype in (np.float64, np.float16, jnp.bfloat16):
        tree = tree_of_weights({"head/kernel": np.full((2, 3), 0.5, dtype)}, params)
        assert tree["head"]["kernel"].dtype == np.float32
        np.testing.assert_array_equal(tree["head"]["kernel"], np.full((2, 3), 0.5))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head/kernel": None}, r"weights: head/kernel is missing, expected float32 \[2, 3\]"),
        ({"head/kernl": np.ones(2)}, "weights: got 'head/kernl'; did you mean 'head/kernel'"),
        (
            {"head/kernel": np.ones((3, 2), np.float32)},
            r"weights: head/kernel is float32 \[3, 2\], expected float32 \[2, 3\]",
        ),
        ({"head/bias": np.ones(3, np.int8)}, r"weights: head/bias is int8 \[3\], expected float32"),
    ],
)
def test_weights_that_do_not_fit_are_named(changed, message):
    params = {"head": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}}
    weights = {k: v for k, v in {**named_weights(params), **changed}.items() if v is not None}
    with pytest.raises(UserError, match=message):
        tree_of_weights(weights, params)


@pytest.mark.parametrize(
    ("number", "dtype", "message"),
    [
        (
            np.nan,
            np.float32,
            r"head/kernel has nan at \[1, 0\], expected finite numbers of",
        ),
        (np.inf, jnp.bfloat16, r"head/kernel has inf at \[1, 0\]"),
        (1e39, np.float64, r"head/kernel has 1e\+39 at \[1, 0\]"),
    ],
)
def test_weights_must_be_finite_in_the_dtype_of_the_model(number, dtype, message):
    weight = np.ones((2, 2)).astype(dtype)
    weight[1, 0] = number
    with pytest.raises(UserError, match=f"^weights: {message}"):
        tree_of_weights({"head/kernel": weight}, {"head/kernel": np.ones((2, 2), np.float32)})
    with pytest.raises(UserError, match=f"^mine: {message}"):
        check_finite("head/kernel", weight, "mine")


def test_the_largest_numbers_of_a_dtype_are_finite():
    largest = np.array(np.finfo(np.float32).max, np.float64)
    check_finite("scale", largest, "mine")
    assert tree_of_weights({"a": largest * 2}, {"a": np.array(1.0)})["a"] == largest * 2
    with pytest.raises(UserError, match=r"^mine: scale has \S+, expected finite"):
        check_finite("scale", largest * 2, "mine")
