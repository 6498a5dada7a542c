"""The weights of a model by name, and back.

In: the parameter tree of a model. Out: a flat mapping from names to arrays, as files of weights
hold them. The name of a weight is its path in the tree with slashes, such as `lstm/layer_0/wx`;
`optim.freeze` and `model.init_parts` use the same names. Read `training/initial_weights.py` for how
a run starts from such weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.types import PyTree


def weight_name(path: tuple[jax.tree_util.DictKey, ...]) -> str:
    """Returns the name of the weight at a path of the parameter tree.

    Args:
      path: as `jax.tree_util.tree_leaves_with_path` gives it.

    Example:
      weight_name((DictKey("head"), DictKey("kernel")))  # "head/kernel"
    """
    return "/".join(str(part.key) for part in path)


def named_weights(params: PyTree) -> dict[str, np.ndarray]:
    """Returns the weights of a parameter tree by name.

    Args:
      params: nested dicts of arrays; a weight has the same shape and dtype in the result.

    Returns:
      Host arrays, in the order of their names within each level of the tree.

    Example:
      named_weights({"head": {"kernel": np.ones((8, 3)), "bias": np.zeros(3)}}).keys()
      # dict_keys(['head/bias', 'head/kernel'])
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {weight_name(path): np.asarray(leaf) for path, leaf in leaves}


def tree_of_weights(weights: Mapping[str, np.ndarray], like: PyTree) -> PyTree:
    """Returns a parameter tree with the given weights: the inverse of `named_weights`.

    Args:
      weights: floating-point arrays by name, exactly those of `like`.
      like: a parameter tree with the names, shapes and dtypes of the result. Its leaves may be
        arrays or `jax.ShapeDtypeStruct`.

    Returns:
      A tree of the structure of `like`: host arrays with its dtypes.

    Raises:
      UserError: for a name that is missing or unexpected, another shape, or numbers that are no
        floating-point numbers.

    Example:
      tree_of_weights(named_weights(params), params)  # the same weights
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {weight_name(path): leaf for path, leaf in leaves}
    if missing := [name for name in expected if name not in weights]:
        raise UserError(f"weights: {missing[0]} is missing, expected {_text(expected[missing[0]])}")
    if unexpected := [name for name in weights if name not in expected]:
        raise unknown("weights", unexpected[0], expected)
    fitted = [fit_weight(name, weights[name], leaf) for name, leaf in expected.items()]
    return jax.tree_util.tree_unflatten(structure, fitted)


def fit_weight(name: str, weight: np.ndarray, like: jax.ShapeDtypeStruct) -> np.ndarray:
    """Returns a weight with the dtype of its place in a model.

    Args:
      name: its name, for errors.
      weight: a floating-point array.
      like: what the model has there: an array, or its shape and dtype.

    Raises:
      UserError: for another shape, or numbers that are no floating-point numbers.
    """
    # Not by NumPy, to which bfloat16 is no floating-point number.
    if weight.shape != like.shape or not jnp.issubdtype(weight.dtype, jnp.floating):
        raise UserError(f"weights: {name} is {_text(weight)}, expected {_text(like)}")
    return weight.astype(like.dtype)


def _text(array: jax.ShapeDtypeStruct | np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
