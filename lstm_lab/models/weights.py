"""The weights of a model by name, and back.

In: the parameter tree of a model. Out: a flat mapping from names to arrays, as files of weights
hold them. The name of a weight is its path in the tree with slashes, such as `lstm/layer_0/wx`;
`optim.freeze` and `model.init_parts` use the same names. Read `weight_files.py` next, and
`training/initial_weights.py` for how a run starts from such weights.
"""

from __future__ import annotations

import hashlib
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


def names_part(parts: tuple[str, ...], name: str) -> bool:
    """Returns whether a parameter, such as `lstm/layer_0/wx`, belongs to one of the parts.

    Args:
      parts: the starts of names, such as `lstm` or `lstm/layer_0`.
      name: the path of the parameter, with slashes.

    Example:
      names_part(("lstm/layer_1",), "lstm/layer_10/wx")  # False
    """
    # With the slash: a plain prefix would freeze layer 10 together with layer 1.
    return any(name == part or name.startswith(f"{part}/") for part in parts)


def stop_gradients(parts: tuple[str, ...], params: PyTree) -> PyTree:
    """Returns the parameters, without gradients for those of the named parts.

    Args:
      parts: as `names_part` takes them.
      params: the parameter tree of a model.

    Example:
      stop_gradients(("embed",), params)  # the gradient of a loss of them is zero for the embedding
    """

    def stop(path: tuple[jax.tree_util.DictKey, ...], weight: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(weight) if names_part(parts, weight_name(path)) else weight

    stopped: PyTree = jax.tree_util.tree_map_with_path(stop, params)
    return stopped


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
        finite floating-point numbers.

    Example:
      tree_of_weights(named_weights(params), params)  # the same weights
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {weight_name(path): leaf for path, leaf in leaves}
    if missing := [name for name in expected if name not in weights]:
        raise UserError(f"weights: {missing[0]} is missing, expected {_text(expected[missing[0]])}")
    if unexpected := [name for name in weights if name not in expected]:
        raise unknown("weights", unexpected[0], expected)
    for name, leaf in expected.items():
        if problem := misfit(weights[name], leaf):
            raise UserError(f"weights: {name} {problem}")
    fitted = [weights[name].astype(leaf.dtype) for name, leaf in expected.items()]
    return jax.tree_util.tree_unflatten(structure, fitted)


def misfit(weight: np.ndarray, like: jax.ShapeDtypeStruct | np.ndarray) -> str | None:
    """Returns why a weight does not fit a place in a model, as the end of a message; or None.

    Floating-point numbers of any precision fit, if they are finite in the dtype of the model.

    Args:
      weight: an array.
      like: what the model has there: an array, or its shape and dtype.

    Example:
      misfit(np.zeros((3, 2)), np.zeros((2, 3)))  # "is float64 [3, 2], expected float64 [2, 3]"
    """
    # By JAX and not by NumPy, to which bfloat16 is no floating-point number.
    if weight.shape == like.shape and jnp.issubdtype(weight.dtype, jnp.floating):
        return _not_finite(weight, like.dtype)
    return f"is {_text(weight)}, expected {_text(like)}"


def check_finite(name: str, array: np.ndarray, what: str) -> None:
    """Raises an error if a weight has NaN or infinite numbers, or numbers too large for float32.

    Args:
      name: the name of the weight.
      array: floating-point numbers.
      what: the setting and the file, for the error.

    Raises:
      UserError: if not all numbers are finite; it names the weight and the first of them.

    Example:
      check_finite("head/bias", np.zeros(3), "model.init_from: mine.safetensors")
    """
    if problem := _not_finite(array, np.dtype(np.float32)):
        raise UserError(f"{what}: {name} {problem}")


def _not_finite(array: np.ndarray, dtype: np.dtype) -> str | None:
    """Returns the first number that is not finite in a dtype, as the end of a message; or None."""
    # An overflow is what is looked for.
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(dtype))
    if finite.all():
        return None
    place = tuple(int(k) for k in np.argwhere(~finite)[0])
    at = f" at {list(place)}" if place else ""
    return f"has {array[place]}{at}, expected finite numbers of {dtype}"


def _text(array: jax.ShapeDtypeStruct | np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


def weights_hash(weights: Mapping[str, np.ndarray]) -> str:
    """Returns a SHA-256 of weights, in hex: of names, dtypes, shapes and numbers.

    It does not depend on the order, nor on the files that hold them: those of a checkpoint differ
    each time they are written.

    Args:
      weights: arrays by name.

    Example:
      weights_hash(named_weights(params))  # "3b1f..."
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {_text(weights[name])}\n".encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()
