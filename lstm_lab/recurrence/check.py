"""Checks of any cell: gradients, padding, chunks, resets and backends. `lstm-lab check` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from lstm_lab.cells.cell import Params, Spec, State, step
from lstm_lab.recurrence.dispatch import Backend, CallSignature, unsupported_reason
from lstm_lab.recurrence.unroll import unroll

T, B, D, H = 7, 4, 3, 6
# A full row, an empty one, and two in between: the cases that lengths get wrong.
LENGTHS = np.array([7, 0, 3, 1])
TOLERANCE = 1e-9  # of the largest magnitude, in float64


def check_cell(spec: Spec) -> Iterator[tuple[str, str | None]]:
    """Checks a cell in float64, one property after another.

    Args:
      spec: the variant.

    Yields:
      The property, and the error or None.
    """
    # In float64, so that a wrong formula cannot hide behind rounding.
    with jax.enable_x64(True):
        try:
            params, x_TBD, state = _sample(spec)
        except Exception as error:  # a cell of the user's own may fail in any way
            yield "one step runs", _describe(error)
            return
        checks: list[tuple[str, Callable[..., None]]] = [
            ("gradients match finite differences", _grads),
            ("rows do not affect each other", _rows),
            ("padding is never read", _padding),
            ("chunks of time compose", _chunks),
            ("a reset starts from the zero state", _resets),
        ]
        # The native kernel computes in float32, too coarse for these limits; tests cover it.
        backends: tuple[Backend, ...] = ("fused", "associative")
        for backend in backends:
            if unsupported_reason(backend, CallSignature(spec, x_TBD.dtype)) is None:
                name = f"{backend} equals scan in outputs, states and gradients"
                checks.append((name, partial(_backend, backend)))
        for name, check in checks:
            try:
                check(spec, params, x_TBD, state)
            except Exception as error:
                yield name, _describe(error)
            else:
                yield name, None


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _sample(spec: Spec) -> tuple[Params, jax.Array, State]:
    """Draws parameters with every entry non-zero, inputs and a state."""
    keys = jax.random.split(jax.random.key(0), 3)
    drawn = spec.cell.init(spec, keys[0], D, H)
    leaves, tree = jax.tree.flatten(drawn)
    # Many initial values are zero or one. A gradient that is wrong only for other values would
    # pass.
    noise = [
        0.3 * jax.random.normal(key, leaf.shape, jnp.float64)
        for key, leaf in zip(jax.random.split(keys[1], len(leaves)), leaves, strict=True)
    ]
    leaves = [leaf.astype(jnp.float64) + delta for leaf, delta in zip(leaves, noise, strict=True)]
    params = jax.tree.unflatten(tree, leaves)
    x_TBD = jax.random.normal(keys[2], (T, B, D), jnp.float64)
    state, _ = step(spec, params, x_TBD[0])
    return params, x_TBD, state


def _grads(spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    del state

    # Two steps: the second one reads a state, so the gradient passes through it.
    def two_steps(params: Params, x_TBD: jax.Array) -> State:
        state, _ = step(spec, params, x_TBD[0])
        return step(spec, params, x_TBD[1], state)[0]

    check_grads(jax.jit(two_steps), (params, x_TBD), order=1, modes=("rev",), rtol=1e-5, atol=1e-6)


def _padding(spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    del state
    real = (jnp.arange(T)[:, None] < LENGTHS[None])[..., None]
    lengths = jnp.asarray(LENGTHS)
    expected = unroll(spec, params, x_TBD, lengths=lengths)
    # NaN, not a large number: a large number times zero would still be zero.
    outputs = unroll(spec, params, jnp.where(real, x_TBD, jnp.nan), lengths=lengths)
    _same(outputs, expected)


def _rows(spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    h, final, _ = unroll(spec, params, x_TBD, state)
    few = jax.tree.map(lambda a: a[:2], state)
    alone = unroll(spec, params, x_TBD[:, :2], few)[:2]
    _same(alone, (h[:, :2], jax.tree.map(lambda a: a[:2], final)))


def _chunks(spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    h, final, _ = unroll(spec, params, x_TBD, state)
    first, middle, _ = unroll(spec, params, x_TBD[:3], state)
    second, end, _ = unroll(spec, params, x_TBD[3:], middle)
    _same((jnp.concatenate([first, second]), end), (h, final))


def _resets(spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    resets = jnp.zeros((T, B), bool).at[4].set(True)
    final = unroll(spec, params, x_TBD, state, resets=resets).final
    _same(final, unroll(spec, params, x_TBD[4:]).final)


def _backend(backend: Backend, spec: Spec, params: Params, x_TBD: jax.Array, state: State) -> None:
    # One row alone, so that a reset that leaks to its neighbors shows.
    resets = jnp.zeros((T, B), bool).at[2, 0].set(True)
    for reverse in (False, True):

        def run(backend: Backend, reverse: bool = reverse) -> Any:
            def outputs(params: Params, x_TBD: jax.Array, state: State) -> Any:
                h, final, _ = unroll(
                    spec,
                    params,
                    x_TBD,
                    state,
                    lengths=jnp.asarray(LENGTHS),
                    resets=resets,
                    reverse=reverse,
                    backend=backend,
                )
                # Sines give every output another cotangent; a plain sum would give all the same.
                ends = sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(final))
                return jnp.sin(3.0 * h).sum() + ends, (h, final)

            return jax.jit(jax.value_and_grad(outputs, (0, 1, 2), has_aux=True))(
                params, x_TBD, state
            )

        _same(run(backend), run("scan"))


def _same(outputs: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        limit = TOLERANCE * max(float(jnp.abs(b).max()), 1.0)
        worst = float(jnp.abs(a - b).max())
        if not worst <= limit:
            raise AssertionError(f"differs by {worst:.2g}, expected at most {limit:.2g}")
