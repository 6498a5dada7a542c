"""Compares a layer on a backend with the oracle: outputs, final states and all gradients."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import get_variant
from lstm_lab.recurrence import unroll
from tests.helpers import oracle
from tests.helpers.recurrence import LENGTHS, RESETS, B, H, T, noise_of, random_layer, state_from

NO_RESETS = np.zeros((T, B), bool)
FULL = np.full(B, T)
# Lengths, resets, and whether the layer starts from a random state.
CASES = {
    "plain": (FULL, NO_RESETS, False),
    "lengths": (LENGTHS, NO_RESETS, False),
    "resets": (FULL, RESETS, False),
    "all": (LENGTHS, RESETS, True),
}
WITHOUT_RESETS = ("cudnn",)
MODES = ("forward", "reverse", "chunked")
# A stabilizer scales c in the sLSTM. The oracle has none, so c is not compared.
STABILIZED = ("slstm",)


def check(name, backend, mode):
    """Asserts that a variant on a backend equals the oracle in all cases, in one of the modes."""
    spec, params, x, random_state = random_layer(name)
    weights = jax.tree.map(jnp.float32, weights_of(random_state.h.shape[1]))
    run = compiled(name, backend, mode)
    for kind, (lengths, resets, stateful) in CASES.items():
        if backend in WITHOUT_RESETS and resets.any():
            continue
        state = state_from(
            spec, params, x, random_state if stateful and name not in STABILIZED else None
        )
        if stateful and name in STABILIZED:
            state = state._replace(h=random_state.h)
        (_, (h, final)), (d_params, dx, d_state) = run(
            params, x, state, weights, lengths, resets, noise_of(spec, params)
        )
        (h_expected, h_final, c_final), reference_gradients = expected(
            name, kind, mode == "reverse"
        )
        assert_close(h, h_expected, f"{kind} h")
        assert_close(final.h, h_final, f"{kind} final h")
        if final.c is not None and name not in STABILIZED:
            assert_close(final.c, c_final, f"{kind} final c")
        gradients = {**d_params, "x": dx, "h0": d_state.h, "c0": d_state.c}
        for label, reference in reference_gradients.items():
            assert_close(gradients[label], reference, f"{kind} gradient of {label}")


def compiled(name, backend, mode):
    """Returns one compiled program; lengths, resets, state and noise are its arguments."""
    spec = get_variant(name).spec

    def run(params, x, state, lengths, resets, noise):
        def unroll_steps(a, b, state):
            h, final, _ = unroll(
                spec,
                params,
                x[a:b],
                state,
                lengths=jnp.clip(lengths - a, 0, b - a),
                resets=None if backend in WITHOUT_RESETS else resets[a:b],
                noise=jax.tree.map(lambda m: m[a:b], noise),
                reverse=mode == "reverse",
                backend=backend,
            )
            return h, final

        if mode != "chunked":
            return unroll_steps(0, T, state)
        first, state = unroll_steps(0, 3, state)
        second, state = unroll_steps(3, T, state)
        return jnp.concatenate([first, second]), state

    def loss(params, x, state, weights, *rest):
        h, final = run(params, x, state, *rest)
        total = (weights["h"] * h).sum() + (weights["h_final"] * final.h).sum()
        if final.c is not None and name not in STABILIZED:
            total = total + (weights["c_final"] * final.c).sum()
        return total, (h, final)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))


def weights_of(R):
    rng = np.random.default_rng(7)
    shapes = {"h": (T, B, R), "h_final": (B, R), "c_final": (B, H)}
    return {k: rng.normal(size=shape) for k, shape in shapes.items()}


@cache
def expected(name, kind, reverse):
    """Returns the oracle's outputs and gradients; they are cached for all backends."""
    lengths, resets, stateful = CASES[kind]
    spec, params, x, state = random_layer(name)
    noise = noise_of(spec, params)
    masks = {} if noise is None else {k: v for k, v in noise._asdict().items() if v is not None}
    masks = {k: np.asarray(v, np.float64) for k, v in masks.items()}
    arrays = {k: np.asarray(v, np.float64) for k, v in params.items()}
    arrays["x"] = np.asarray(x, np.float64)
    if stateful:
        arrays["h0"] = np.asarray(state.h, np.float64)
        if state.c is not None and name not in STABILIZED:
            arrays["c0"] = np.asarray(state.c, np.float64)
    weights = weights_of(state.h.shape[1])

    def run(arrays, lead=()):
        arrays = dict(arrays)
        x, h0, c0 = arrays.pop("x"), arrays.pop("h0", None), arrays.pop("c0", None)
        return oracle.unroll(
            name,
            arrays,
            x,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            h0=h0,
            c0=c0,
            noise=masks,
            lead=lead,
        )

    def loss(arrays, lead):
        h, h_final, c_final = run(arrays, lead)
        total = (weights["h"] * h).sum((-1, -2, -3)) + (weights["h_final"] * h_final).sum((-1, -2))
        if state.c is not None and name not in STABILIZED:
            total = total + (weights["c_final"] * c_final).sum((-1, -2))
        return total

    return run(arrays), oracle.gradients(loss, arrays)


def assert_close(outputs, reference, label):
    """Asserts an error below 1e-5 of the largest magnitude of the reference."""
    outputs, reference = np.asarray(outputs), np.asarray(reference)
    worst = np.abs(outputs - reference).max() / max(np.abs(reference).max(), 1e-3)
    assert worst <= 1e-5, f"{label}: {worst:.2g}"
