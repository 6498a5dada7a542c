"""Initializers: the matrix of each gate is drawn on its own, and biases set a cell's memory.

In: the name of an initializer, such as "orthogonal" or "normal(0.1)", and a key. Out: float32
arrays, also with x64: a backend may read nothing else. One draw for all gates at once would not be
orthogonal gate by gate.
"""

from __future__ import annotations

import re
from functools import partial

import jax
import jax.numpy as jnp

_INIT = re.compile(
    r"(uniform|normal)\((\d*\.?\d+(?:e-?\d+)?)\)|uniform|orthogonal|glorot|(?:chrono|janet)\((\d+)\)"
)
# Columns that `orthogonal_matrix` treats together: the work between blocks is products of matrices.
BLOCK = 32
_dot = partial(jnp.matmul, precision="highest")
_EXPECTED = "uniform, uniform(SCALE), normal(STD), glorot, orthogonal"
_MEMORY_BIAS = "chrono(T_MAX), janet(T_MAX)"


def check_init(init: str, *, memory_bias: bool = False) -> None:
    """Checks the name of an initializer.

    Args:
      init: the name.
      memory_bias: whether the cell draws the biases of its forget gate by `chrono_bias`.

    Raises:
      ValueError: if `init_matrix` does not know it, or if it sets biases that the cell does not
        draw: it would do so without an effect.
    """
    match = _INIT.fullmatch(init)
    # chrono(2) would draw log U(1, 1), the same bias for every unit.
    if not match or (match[3] and int(match[3]) < 3):
        expected = f"{_EXPECTED}, {_MEMORY_BIAS}" if memory_bias else _EXPECTED
        raise ValueError(f"init: got {init!r}, expected {expected}")
    if sets_memory_bias(init) and not memory_bias:
        raise ValueError(
            f"init: {init} sets the biases of i and f of an LSTM, and this cell has none; expected "
            f"{_EXPECTED}"
        )


def sets_memory_bias(init: str) -> bool:
    """Returns whether an initializer draws the biases of the forget gate by `chrono_bias`."""
    return init.startswith(("chrono", "janet"))


def init_matrix(
    init: str, key: jax.Array, shape: tuple[int, int], H: int, *, recurrent: bool
) -> jax.Array:
    """Draws one gate's matrix.

    uniform: U(-1/sqrt(H), 1/sqrt(H)) (PyTorch; biases are the sum of its two such draws);
    uniform(s): U(-s, s); normal(s): N(0, s^2);
    glorot: Glorot and Bengio 2010; orthogonal: orthogonal for the recurrent matrices, glorot for
    the others (Keras, Flax); chrono(T): like orthogonal, with biases by `chrono_bias`; janet(T):
    glorot over the matrices of all gates as one (`init_gates`), with biases by `chrono_bias`.

    Args:
      init: the name of one of these.
      key: a jax.random key.
      shape: [rows, columns] of the matrix.
      H: hidden units.
      recurrent: whether the matrix multiplies the carried state.

    Returns:
      A float32 array of that shape.
    """
    name, _, argument = init.rstrip(")").partition("(")
    if name == "uniform":
        scale = float(argument) if argument else H**-0.5
        return jax.random.uniform(key, shape, jnp.float32, minval=-scale, maxval=scale)
    if name == "normal":
        return float(argument) * jax.random.normal(key, shape, jnp.float32)
    if name in ("orthogonal", "chrono") and recurrent:
        return orthogonal_matrix(key, shape)
    return jax.nn.initializers.glorot_uniform()(key, shape, jnp.float32)


def orthogonal_matrix(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draws a matrix with orthonormal columns, or rows if it has fewer rows, uniformly.

    It is the Q of A = QR for a matrix A of normal numbers and an R with a positive diagonal, by
    Gram-Schmidt, each column twice. Equal to `jax.nn.initializers.orthogonal` up to rounding. Not
    LAPACK's QR: on CPU, two of its calls at a time wait for each other's threads, and with as many
    layers as cores a program would never start.

    Args:
      key: a jax.random key.
      shape: [rows, columns].

    Returns:
      A float32 array of that shape.

    Example:
      q = orthogonal_matrix(jax.random.key(0), (8, 8))
      jnp.allclose(q.T @ q, jnp.eye(8), atol=1e-6)  # True

    Source: Giraud et al. 2005, Rounding error analysis of the classical Gram-Schmidt
    orthogonalization process: twice is enough.
    """
    rows, columns = max(shape), min(shape)
    width = min(BLOCK, columns)
    # Whole blocks: the columns that are added are zero and cut off at the end.
    drawn = jax.random.normal(key, (rows, columns), jnp.float32)
    a = jnp.pad(drawn, ((0, 0), (0, -columns % width)))

    def orthogonalize_column(j: jax.Array, block: jax.Array) -> jax.Array:
        earlier = jnp.where(jnp.arange(width) < j, block, 0.0)
        v = block[:, j]
        for _ in range(2):
            v = v - _dot(earlier, _dot(earlier.T, v))
        norm = jnp.sqrt(_dot(v, v))
        return block.at[:, j].set(v / jnp.where(norm > 0.0, norm, 1.0))

    def orthogonalize_block(k: jax.Array, q: jax.Array) -> jax.Array:
        block = jax.lax.dynamic_slice(a, (0, k * width), (rows, width))
        for _ in range(2):
            block = block - _dot(q, _dot(q.T, block))
            block = jax.lax.fori_loop(0, width, orthogonalize_column, block)
        return jax.lax.dynamic_update_slice(q, block, (0, k * width))

    q = jax.lax.fori_loop(0, a.shape[1] // width, orthogonalize_block, jnp.zeros_like(a))
    q = q[:, :columns]
    return q if shape[0] >= shape[1] else q.T


def init_vector(init: str, key: jax.Array, H: int) -> jax.Array:
    """Draws a bias or peephole vector [H]: random if the initializer has a scale, else zero."""
    if init.startswith(("uniform", "normal")):
        return init_matrix(init, key, (1, H), H, recurrent=False)[0]
    return jnp.zeros((H,), jnp.float32)


def init_gates(
    init: str,
    key: jax.Array,
    D: int,
    H: int,
    G: int,
    recurrent_inputs: int | None = None,
    summed: int | None = None,
) -> dict[str, jax.Array]:
    """Draws `wx [D,G,H]`, `wh [H,G,H]` and `b [G,H]`, gate by gate.

    Args:
      init: the name of an initializer.
      key: a jax.random key.
      D, H, G: input features, hidden units, gates.
      recurrent_inputs: width of h, if it is not H.
      summed: how many gates, the first ones, have a bias of the input's product and one of the
        recurrent product, whose sum b is; None means all. It matters for `uniform` only.
    """
    key_x, key_h, key_b = jax.random.split(key, 3)
    R = H if recurrent_inputs is None else recurrent_inputs

    def matrices(key: jax.Array, rows: int, recurrent: bool) -> jax.Array:
        if init.startswith("janet"):
            joint = init_matrix("glorot", key, (rows, G * H), H, recurrent=recurrent)
            return joint.reshape(rows, G, H)
        draw = partial(init_matrix, init, shape=(rows, H), H=H, recurrent=recurrent)
        # Mapped: a loop over the gates would compile a generator for each of them.
        return jax.vmap(draw, out_axes=1)(jax.random.split(key, G))

    def biases(key: jax.Array) -> jax.Array:
        return jax.vmap(lambda k: init_vector(init, k, H))(jax.random.split(key, G))

    b = biases(key_b)
    if init == "uniform":
        has_second = jnp.arange(G)[:, None] < (G if summed is None else summed)
        b = b + jnp.where(has_second, biases(jax.random.fold_in(key_b, 1)), 0.0)
    return {
        "wx": matrices(key_x, D, recurrent=False),
        "wh": matrices(key_h, R, recurrent=True),
        "b": b,
    }


def chrono_bias(init: str, key: jax.Array, H: int) -> jax.Array:
    """Draws forget biases [H] whose time constants cover the lags to be learned.

    bf = log U(1, T_max - 1), and bi = -bf if a cell has both gates; janet(T): bf = log U(1, T_max).

    Source: Tallec and Ollivier 2018, Can Recurrent Neural Networks Warp Time?, section 2; the code
    of JANET (JosvanderWesthuizen/janet, aux_code/rnn_cells.py).
    """
    name, _, argument = init.rstrip(")").partition("(")
    longest = float(argument) - (1.0 if name == "chrono" else 0.0)
    return jnp.log(jax.random.uniform(key, (H,), jnp.float32, minval=1.0, maxval=longest))
