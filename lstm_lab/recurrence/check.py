"""Checks of any cell: gradients, padding, chunks, resets and backends. `lstm-lab check` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads

from lstm_lab.cells.cell import Params, Spec, State, step
from lstm_lab.cells.contract import contract_problem
from lstm_lab.recurrence.dispatch import Backend, CallSignature, unsupported_reason
from lstm_lab.recurrence.steps import Unrolled
from lstm_lab.recurrence.unroll import unroll
from lstm_lab.utils.types import PyTree

T, B, D, H = 8, 4, 3, 6  # T is even, so that its halves share a compiled program
# A full row, an empty one, and two in between: the cases that lengths get wrong.
LENGTHS = np.array([8, 0, 3, 1])
TOLERANCE = 1e-9  # of the largest magnitude, in float64


def check_cell(spec: Spec) -> Iterator[tuple[str, str | None]]:
    """Checks a cell in float64, one property after another.

    Args:
      spec: the variant.

    Yields:
      The property, and the error or None.
    """
    problem = contract_problem(spec, D, H)
    if problem is not None:
        yield "one step runs", problem
        return
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


def _sample(spec: Spec) -> tuple[Params, np.ndarray, State]:
    """Draws parameters with every entry non-zero, inputs and a state."""
    # NumPy draws, slices and compares below: XLA would compile each operation for every shape.
    rng = np.random.default_rng(0)
    # Many initial values are zero or one. A gradient that is wrong only for other values would
    # pass.
    params = jax.tree.map(
        lambda leaf: np.float64(leaf) + 0.3 * rng.normal(size=leaf.shape),
        jax.device_get(spec.cell.init(spec, jax.random.key(0), D, H)),
    )
    x_TBD = rng.normal(size=(T, B, D))
    state, _ = jax.jit(partial(step, spec))(params, x_TBD[0])
    return params, x_TBD, jax.device_get(state)


@partial(jax.jit, static_argnames=("spec", "reverse"))
def _scan(
    spec: Spec,
    params: Params,
    x_TBD: jax.Array,
    state: State,
    resets: jax.Array,
    reverse: bool = False,
) -> Unrolled:
    """Runs the reference. Several checks call it with equal shapes, which are compiled once."""
    return unroll(spec, params, x_TBD, state, resets=resets, reverse=reverse, backend="scan")


def _grads(spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    del state

    # Two steps: the second one reads a state, so the gradient passes through it.
    # One flat vector in and out: check_grads computes leaf by leaf, and compiles for every shape.
    flat, unravel = ravel_pytree((params, x_TBD))

    def two_steps(flat: jax.Array) -> jax.Array:
        params, x_TBD = unravel(flat)
        state, _ = step(spec, params, x_TBD[0])
        return ravel_pytree(step(spec, params, x_TBD[1], state)[0])[0]

    # The error of central differences grows with eps^2: 1e-4, the default, needs a limit of 1e-5.
    check_grads(
        jax.jit(two_steps), (flat,), order=1, modes=("rev",), rtol=1e-6, atol=1e-6, eps=1e-5
    )


def _padding(spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    del state
    is_real = (np.arange(T)[:, None] < LENGTHS[None])[..., None]
    lengths = jnp.asarray(LENGTHS)

    def loss(params: Params, x_TBD: jax.Array) -> tuple[jax.Array, tuple[jax.Array, State]]:
        h, final, _ = unroll(spec, params, x_TBD, lengths=lengths, backend="scan")
        return jnp.square(h).sum() + final.h.sum(), (h, final)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    expected = run(params, x_TBD)
    # NaN, not a large number: a large number times zero would still be zero.
    _same(run(params, np.where(is_real, x_TBD, np.nan)), expected)
    h = np.asarray(expected[0][1][0])
    _same(np.where(is_real, 0.0, h), np.zeros_like(h))


def _rows(spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    resets = np.zeros((T, B), bool)
    together = jax.device_get(_scan(spec, params, x_TBD, state, resets))
    two_rows = jax.tree.map(lambda a: a[:2], state)
    alone = _scan(spec, params, x_TBD[:, :2], two_rows, resets[:, :2])
    _same(
        (alone.h, alone.final), (together.h[:, :2], jax.tree.map(lambda a: a[:2], together.final))
    )


def _chunks(spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    # Not at the cut: there, a reset would hide a state that is not handed over.
    resets = np.zeros((T, B), bool)
    resets[1, 0] = resets[6, 2] = True
    for reverse in (False, True):
        whole = _scan(spec, params, x_TBD, state, resets, reverse)
        chunks = [slice(0, T // 2), slice(T // 2, T)]
        end, outputs = state, []
        for chunk in reversed(chunks) if reverse else chunks:
            h, end, _ = _scan(spec, params, x_TBD[chunk], end, resets[chunk], reverse)
            outputs.append(h)
        h = np.concatenate(outputs[::-1] if reverse else outputs)
        _same((h, end), (whole.h, whole.final))


def _resets(spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    start = T // 2
    resets = np.zeros((T, B), bool)
    resets[start] = True
    # Without a state, `unroll` starts from the cell's own zero state.
    from_zero = jax.jit(partial(unroll, spec, backend="scan"))(params, x_TBD[start:])
    _same(_scan(spec, params, x_TBD, state, resets).final, from_zero.final)


def _backend(backend: Backend, spec: Spec, params: Params, x_TBD: np.ndarray, state: State) -> None:
    # One row alone, so that a reset that leaks to its neighbors shows.
    resets = np.zeros((T, B), bool)
    resets[2, 0] = True
    for reverse in (False, True):

        def run(backend: Backend, reverse: bool = reverse) -> PyTree:
            def outputs(
                params: Params, x_TBD: jax.Array, state: State
            ) -> tuple[jax.Array, tuple[jax.Array, State]]:
                h, final, _ = unroll(
                    spec,
                    params,
                    x_TBD,
                    state,
                    lengths=jnp.asarray(LENGTHS),
                    resets=jnp.asarray(resets),
                    reverse=reverse,
                    backend=backend,
                )
                # Sines give every output another cotangent; a plain sum would give all the same.
                ends = sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(final))
                return jnp.sin(3.0 * h).sum() + ends, (h, final)

            run = jax.jit(jax.value_and_grad(outputs, (0, 1, 2), has_aux=True))
            return run(params, x_TBD, state)

        _same(run(backend), run("scan"))


def _same(outputs: PyTree, expected: PyTree) -> None:
    for a, b in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        limit = TOLERANCE * max(float(np.abs(b).max()), 1.0)
        worst = float(np.abs(a - b).max())
        if not worst <= limit:
            raise AssertionError(f"differs by {worst:.2g}, expected at most {limit:.2g}")
