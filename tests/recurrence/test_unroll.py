"""The recurrence beside the oracle, and what has to hold whatever the numbers."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.cells import CATALOGUE, State, find
from lstm_lab.recurrence import unroll
from tests import oracle

T, B, D, H = 6, 4, 3, 5
LENGTHS = np.array([6, 0, 3, 1])
RESETS = np.zeros((T, B), bool)
RESETS[[0, 2, 5, 2, 4], [0, 0, 1, 2, 2]] = True


def case(name, seed=0):
    spec = find(name).spec
    params = spec.cell.init(spec, jax.random.key(seed), D, H)
    keys = iter(jax.random.split(jax.random.key(seed + 1), len(params) + 3))
    params = {k: 0.5 * jax.random.normal(next(keys), v.shape) for k, v in params.items()}
    x = jax.random.normal(next(keys), (T, B, D))
    h, c = (0.5 * jax.random.normal(next(keys), (B, H)) for _ in range(2))
    return spec, params, x, State(h, None if name in ("rnn", "gru") else c)


@cache
def compiled(name, reverse):
    """One program for a variant and a direction; lengths, resets and state are its arguments."""
    spec = find(name).spec
    return jax.jit(
        lambda params, x, state, lengths, resets: unroll(
            spec, params, x, state, lengths=lengths, resets=resets, reverse=reverse
        )
    )


def start(name, spec, params, x, state):
    zero = spec.cell.initial(spec, params, spec.cell.project(spec, params, x[0]), x.dtype)
    return zero if state is None else zero._replace(h=state.h, c=state.c)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_equals_the_oracle(name, reverse, strict):
    spec, params, x, given_state = case(name)
    none = np.zeros((T, B), bool)
    for lengths, resets, state in (
        (None, none, None),
        (LENGTHS, none, None),
        (None, RESETS, None),
        (LENGTHS, RESETS, given_state),
    ):
        first = start(name, spec, params, x, state)
        h, final = compiled(name, reverse)(params, x, first, lengths, resets)
        c0 = None if state is None or state.c is None else state.c
        expected, h_final, c_final = oracle.unroll(
            name,
            params,
            x,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            h0=None if state is None else state.h,
            c0=c0,
        )
        np.testing.assert_allclose(h, expected, atol=2e-6)
        np.testing.assert_allclose(final.h, h_final, atol=2e-6)
        if final.c is not None:
            np.testing.assert_allclose(final.c, c_final, atol=5e-6)


@pytest.mark.parametrize("name", CATALOGUE)
def test_padding_is_never_read(name):
    spec, params, x, _ = case(name)
    lengths = jnp.array(LENGTHS)
    padded = jnp.where((jnp.arange(T)[:, None] < lengths[None])[..., None], x, jnp.nan)

    def outputs(params, x):
        h, final = unroll(spec, params, x, lengths=lengths)
        return jnp.square(h).sum() + final.h.sum(), (h, final)

    run = jax.jit(jax.value_and_grad(outputs, has_aux=True))
    (_, expected), expected_grad = run(params, x)
    (_, found), grad = run(params, padded)
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    jax.tree.map(np.testing.assert_array_equal, expected_grad, grad)
    assert not np.asarray(found[0])[LENGTHS[2] :, 2].any()


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, T - 1), name=st.sampled_from(sorted(CATALOGUE)), reverse=st.booleans())
def test_chunks_of_time_compose(cut, name, reverse):
    spec, params, x, _ = case(name)
    resets = jnp.array(RESETS).at[cut].set(False)
    whole, whole_final = unroll(spec, params, x, resets=resets, reverse=reverse)
    parts = [(slice(0, cut)), slice(cut, T)]
    state, outputs = None, {}
    for k in reversed(range(2)) if reverse else range(2):
        outputs[k], state = unroll(
            spec, params, x[parts[k]], state, resets=resets[parts[k]], reverse=reverse
        )
    np.testing.assert_allclose(whole, jnp.concatenate([outputs[0], outputs[1]]), atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole_final, state)


@settings(max_examples=10, deadline=None)
@given(
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
    name=st.sampled_from(["np", "vanilla", "fgr", "gru"]),
)
def test_reverse_is_forward_on_flipped_rows(lengths, name):
    spec, params, x, _ = case(name)
    lengths = np.array(lengths)
    flipped = np.array(x)
    for b, n in enumerate(lengths):
        flipped[:n, b] = flipped[:n, b][::-1]
    h, final = unroll(spec, params, x, lengths=lengths, reverse=True)
    g, flipped_final = unroll(spec, params, jnp.array(flipped), lengths=lengths)
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(h[:n, b], g[:n, b][::-1], atol=1e-6)
    np.testing.assert_allclose(final.h, flipped_final.h, atol=1e-6)


def test_the_past_does_not_see_the_future():
    spec, params, x, _ = case("vanilla")
    h, _ = unroll(spec, params, x)
    changed, _ = unroll(spec, params, x.at[4:].add(1.0))
    np.testing.assert_array_equal(h[:4], changed[:4])
    assert np.abs(h[4:] - changed[4:]).max() > 1e-3


def test_trace_and_clamp():
    spec, params, x, _ = case("vanilla")
    h, final, traced = unroll(spec, params, x, trace=("f", "c", "h"), clamp={"f": 1.0, "i": 0.0})
    assert set(traced) == {"f", "c", "h"}
    np.testing.assert_array_equal(traced["f"], np.ones((T, B, H)))
    np.testing.assert_array_equal(final.c, np.zeros((B, H)))
    np.testing.assert_array_equal(traced["h"], h)
    free = unroll(spec, params, x, trace=("f",))[2]["f"]
    assert 0 < free.min() < free.max() < 1
    gru = case("gru")
    _, kept = unroll(gru[0], gru[1], x, gru[3], clamp={"z": 1.0})
    np.testing.assert_allclose(kept.h, gru[3].h, atol=1e-6)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"backend": "cuda"}, "backend: found 'cuda', allowed auto, scan"),
        ({"trace": ("q",)}, "trace: found 'q', allowed h, c, i, f, g, o"),
        ({"clamp": {"z": 1.0}}, "clamp: found gate 'z', allowed i, f, o, g"),
        ({"lengths": np.ones(B + 1, int)}, "lengths: found shape"),
        ({"resets": np.ones((B, T), bool)}, "resets: found shape"),
    ],
)
def test_wrong_arguments_are_named(keywords, said):
    spec, params, x, _ = case("vanilla")
    with pytest.raises(ValueError, match=said):
        unroll(spec, params, x, **keywords)


def test_no_steps_are_refused():
    spec, params, x, _ = case("np")
    with pytest.raises(ValueError, match="x_TBD: found shape"):
        unroll(spec, params, x[:0])


def test_noise_reaches_a_cell_that_takes_it():
    from dataclasses import replace

    from lstm_lab.cells import ALGEBRA, CellSpec

    def noisy(spec, params, zx, zh, state, noise=None):
        new, gates = ALGEBRA.pointwise(spec, params, zx, zh, state)
        return (new if noise is None else new._replace(h=new.h * noise)), gates

    spec = CellSpec(cell=replace(ALGEBRA, pointwise=noisy))
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    _, _, x, _ = case("np")
    h, _ = unroll(spec, params, x, noise=jnp.zeros((T, B, H)))
    assert not h.any()
    with pytest.raises(ValueError, match="clamp: this cell's pointwise takes no clamp"):
        unroll(spec, params, x, clamp={"f": 1.0})


def test_matmul_precision_reaches_the_products():
    spec, params, x, _ = case("np")
    text = jax.jit(lambda x: unroll(spec, params, x, precision="highest")[0]).lower(x).as_text()
    assert "HIGHEST" in text
