"""Arithmetic of bits equals that of Python's integers, far beyond a machine word."""

import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from lstm_lab.tasks.datasets.chomsky import bits

MOST = 256


def array(values, size=MOST):
    """Returns numbers as bits [N,size], the lowest first."""
    return jnp.array([[value >> k & 1 for k in range(size)] for value in values], jnp.int32)


def numbers(bits_NK):
    return [sum(bit << k for k, bit in enumerate(row)) for row in np.asarray(bits_NK).tolist()]


def test_sums_and_products():
    rng = random.Random(0)
    a = [rng.getrandbits(rng.randint(1, 127)) for _ in range(60)] + [0, 1, 2**127 - 1]
    b = [rng.getrandbits(rng.randint(1, 127)) for _ in range(60)] + [0, 2**127 - 1, 2**127 - 1]
    pair = array(a), array(b)
    expected = [x + y for x, y in zip(a, b, strict=True)]
    assert numbers(jax.jit(jax.vmap(bits.add))(*pair)) == expected
    expected = [x * y for x, y in zip(a, b, strict=True)]
    assert numbers(jax.jit(jax.vmap(bits.multiply))(*pair)) == expected
    sizes = np.asarray(jax.vmap(bits.bit_length)(pair[0])).tolist()
    assert sizes == [max(x.bit_length(), 1) for x in a]


def test_roots():
    rng = random.Random(1)
    values = [rng.getrandbits(rng.randint(1, 256)) for _ in range(60)] + [0, 1, 2**256 - 1]
    # Next to squares, where a root changes.
    roots = [rng.getrandbits(128) for _ in range(20)]
    values += [root * root + change for root in roots for change in (-1, 0, 1)]
    found = jax.jit(jax.vmap(bits.integer_root))(array(values)[:, ::-1])
    assert numbers(found[:, ::-1]) == [math.isqrt(value) for value in values]


def test_all_small_roots():
    values = list(range(256))
    found = jax.jit(jax.vmap(bits.integer_root))(array(values, 8)[:, ::-1])
    assert numbers(found[:, ::-1]) == [math.isqrt(value) for value in values]


def test_numbers_are_uniform_and_never_zero():
    draw = jax.jit(jax.vmap(bits.draw_nonzero, (0, 0, None)), static_argnums=2)
    keys, sizes = jax.random.split(jax.random.key(3), 6000), jnp.repeat(jnp.arange(1, 4), 2000)
    values = np.asarray(numbers(draw(keys, sizes, 5)))
    for size in (1, 2, 3):
        counts = np.bincount(values[np.asarray(sizes) == size])
        assert (counts[0], len(counts)) == (0, 2**size)
        assert size == 1 or scipy.stats.chisquare(counts[1:]).pvalue > 1e-3
