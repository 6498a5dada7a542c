"""Properties of `unroll` that need no oracle.

`check_cell` has those that hold for every cell: padding, chunks of time, resets. test_check.py runs
it on the whole catalogue.
"""

import re
from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.cells import CATALOGUE, get_variant
from lstm_lab.cells.masks import is_drawn
from lstm_lab.recurrence import MEMBERS, CallSignature, DeviceType, unroll
from tests.helpers.recurrence import (
    B,
    D,
    H,
    T,
    assert_near,
    loss_and_gradients,
    noise_of,
    random_layer,
    state_from,
)


@settings(max_examples=10, deadline=None)
@given(
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
    name=st.sampled_from(["np", "vanilla", "fgr", "gru"]),
)
def test_reverse_equals_forward_on_flipped_rows(lengths, name):
    spec, params, x, _ = random_layer(name)
    lengths = np.array(lengths)
    flipped = np.array(x)
    for b, n in enumerate(lengths):
        flipped[:n, b] = flipped[:n, b][::-1]
    h, final, _ = unroll(spec, params, x, lengths=lengths, reverse=True)
    flipped_h, flipped_final, _ = unroll(spec, params, jnp.array(flipped), lengths=lengths)
    for b, n in enumerate(lengths):
        np.testing.assert_allclose(h[:n, b], flipped_h[:n, b][::-1], atol=1e-6)
    np.testing.assert_allclose(final.h, flipped_final.h, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("backend", ["scan", "fused", "native"])
def test_products_of_gradients_have_the_precision_of_the_call(backend, compiled):
    """JAX traces the backward pass, and inside of `jit` the forward one, after the call has ended.

    With layer normalization, XLA computes products for every backend.
    """
    spec, params, x, _ = random_layer("layernorm")

    def loss(params, x):
        return unroll(spec, params, x, backend=backend, precision="highest").h.sum()

    gradient = jax.grad(jax.jit(loss) if compiled else loss, (0, 1))
    text = str(jax.make_jaxpr(gradient)(params, x))
    products = text.count("dot_general[")
    assert products > 3
    assert products == len(re.findall(r"precision=\S*HIGHEST", text))


@pytest.mark.optimized
def test_outputs_do_not_depend_on_later_inputs():
    spec, params, x, _ = random_layer("vanilla")
    h, _, _ = unroll(spec, params, x)
    changed, _, _ = unroll(spec, params, x.at[4:].add(1.0))
    np.testing.assert_array_equal(h[:4], changed[:4])
    assert np.abs(h[4:] - changed[4:]).max() > 1e-3


@pytest.mark.optimized
def test_trace_returns_gates_and_clamp_fixes_them():
    spec, params, x, _ = random_layer("vanilla")
    h, final, traced = unroll(spec, params, x, trace=("f", "c", "h"), clamp={"f": 1.0, "i": 0.0})
    assert set(traced) == {"f", "c", "h"}
    np.testing.assert_array_equal(traced["f"], np.ones((T, B, H)))
    np.testing.assert_array_equal(final.c, np.zeros((B, H)))
    np.testing.assert_array_equal(traced["h"], h)
    unclamped = unroll(spec, params, x, trace=("f",))[2]["f"]
    assert 0 < unclamped.min() < unclamped.max() < 1
    gru = random_layer("gru")
    _, final, _ = unroll(gru[0], gru[1], x, gru[3], clamp={"z": 1.0})
    np.testing.assert_allclose(final.h, gru[3].h, atol=1e-6)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"backend": "cuda"}, "backend: got 'cuda', expected one of auto, scan, fused, native"),
        ({"trace": ("q",)}, "trace: got 'q', expected one of h, c, i, f, g, o"),
        ({"clamp": {"z": 1.0}}, "clamp: got gate 'z', expected i, f, o, g"),
        ({"lengths": np.ones(B + 1, int)}, "lengths: got shape"),
        ({"resets": np.ones((B, T), bool)}, "resets: got shape"),
    ],
)
def test_wrong_arguments_are_named_in_the_error(keywords, message):
    spec, params, x, _ = random_layer("vanilla")
    with pytest.raises(ValueError, match=message):
        unroll(spec, params, x, **keywords)


@pytest.mark.parametrize("backend", ["auto", "scan", "fused", "native"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"h": (B + 1, H)}, r"state.h: got shape \(5, 5\), expected \(4, 5\)"),
        ({"h": (1, H)}, r"state.h: got shape \(1, 5\), expected \(4, 5\)"),
        ({"c": (B, H + 1)}, r"state.c: got shape \(4, 6\), expected \(4, 5\)"),
        ({"c": None}, r"state.c: got None, expected \(4, 5\)"),
        ({"n": (B, H)}, r"state.n: got shape \(4, 5\), expected None"),
    ],
)
def test_a_state_of_another_shape_is_refused(backend, fields, message):
    spec, params, x, state = random_layer("np")
    arrays = {name: shape and jnp.zeros(shape) for name, shape in fields.items()}
    with pytest.raises(ValueError, match=message):
        unroll(spec, params, x, state._replace(**arrays), backend=backend)


@pytest.mark.parametrize(
    ("part", "dtype"),
    [
        ("params", jnp.bfloat16),
        ("params", jnp.float16),
        ("params", jnp.float64),
        ("h", jnp.bfloat16),
        ("noise", jnp.float64),
    ],
)
def test_auto_computes_arrays_of_other_dtypes_as_scan_does(x64, part, dtype):
    """`native` would read their bytes as float32."""
    spec, params, x, state = random_layer("zoneout")
    noise = noise_of(spec, params)
    params, x, state, noise = jax.tree.map(
        lambda a: a.astype(jnp.float32), (params, x, state, noise)
    )
    match part:
        case "params":
            params = jax.tree.map(lambda a: a.astype(dtype), params)
        case "h":
            state = state._replace(h=state.h.astype(dtype))
        case "noise":
            noise = jax.tree.map(lambda a: a.astype(dtype), noise)

    def run(backend):
        return unroll(spec, params, x, state, noise=noise, backend=backend)

    outputs, expected = run("auto"), run("scan")
    assert_near(outputs, expected, 1e-6)
    dtypes, expected_dtypes = (
        [leaf.dtype for leaf in jax.tree.leaves(result)] for result in (outputs, expected)
    )
    assert dtypes == expected_dtypes
    with pytest.raises(ValueError, match=f"got dtype {jnp.dtype(dtype)}, native supports float32"):
        run("native")


def gradients_without_rows(spec, params, x, noise, backend):
    def loss(params, x):
        h, final, _ = unroll(spec, params, x, noise=noise, backend=backend)
        return h.sum() + final.h.sum(), h

    (d_params, dx), h = jax.grad(loss, (0, 1), has_aux=True)(params, x[:, :0])
    assert h.shape[:2] == dx.shape[:2] == (T, 0)
    return d_params


@pytest.mark.parametrize(
    ("name", "backend"),
    [*(("np", b) for b in ("auto", "scan", "fused", "native")), ("minlstm", "associative")],
)
def test_a_batch_may_be_empty(name, backend):
    spec, params, x, _ = random_layer(name)
    d_params = gradients_without_rows(spec, params, x, None, backend)
    assert not any(leaf.any() for leaf in d_params.values())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_cell_takes_an_empty_batch(name):
    spec, params, x, _ = random_layer(name, H=8)
    noise = noise_of(spec, params, B=1) if is_drawn(spec) else None
    noise = jax.tree.map(lambda a: a[:, :0], noise)
    for backend in ("scan", "fused"):
        jax.eval_shape(
            partial(gradients_without_rows, spec, noise=noise, backend=backend), params, x
        )


def test_an_input_without_steps_is_rejected():
    spec, params, x, _ = random_layer("np")
    with pytest.raises(ValueError, match="x_TBD: got shape"):
        unroll(spec, params, x[:0])


def test_noise_reaches_a_cell_that_uses_it():
    from dataclasses import replace

    from lstm_lab.cells import GATED_LSTM, CellSpec

    def noisy(spec, params, zx, zh, state, noise=None):
        new, gates = GATED_LSTM.pointwise(spec, params, zx, zh, state)
        return (new if noise is None else new._replace(h=new.h * noise)), gates

    spec = CellSpec(cell=replace(GATED_LSTM, pointwise=noisy))
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    _, _, x, _ = random_layer("np")
    h, _, _ = unroll(spec, params, x, noise=jnp.zeros((T, B, H)))
    assert not h.any()
    with pytest.raises(ValueError, match="clamp: this cell's pointwise takes no clamp"):
        unroll(spec, params, x, clamp={"f": 1.0})


def test_matmul_precision_reaches_the_products():
    spec, params, x, _ = random_layer("np")
    text = (
        jax.jit(lambda x: unroll(spec, params, x, precision="highest", backend="scan")[0])
        .lower(x)
        .as_text()
    )
    assert "HIGHEST" in text


@pytest.mark.parametrize("backend", ["scan", "fused"])
@pytest.mark.parametrize("name", ["vanilla", "layernorm", "gru", "slstm"])
def test_bfloat16_keeps_states_in_float32_and_stays_close_to_float32(name, backend):
    shape = {"T": 12, "B": 4, "D": 6, "H": 8}
    _, outputs = loss_and_gradients(name, backend, dtype=jnp.bfloat16, **shape)
    assert_near(outputs, loss_and_gradients(name, "scan", **shape)[1], 0.06)


@pytest.mark.parametrize("name", ["vanilla", "gru", "layernorm"])
def test_fused_needs_less_memory_than_scan(name):
    spec, params, x, _ = random_layer(name, T=256, B=8, D=16, H=32)

    def temporary_bytes(backend):
        def loss(params, x):
            return unroll(spec, params, x, backend=backend)[0].sum()

        compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes("fused") < 0.6 * temporary_bytes("scan")


def test_an_unsupported_backend_is_rejected():
    spec, params, x, _ = random_layer("layernorm")
    with pytest.raises(ValueError, match="got 'native', which does not support this"):
        unroll(spec, params, x.astype(jnp.bfloat16), backend="native")


def test_integer_inputs_are_refused():
    spec = get_variant("lstm").spec
    params = spec.cell.init(spec, jax.random.key(0), 3, 4)
    with pytest.raises(ValueError, match="x_TBD: got dtype int32, expected a floating dtype"):
        unroll(spec, params, jnp.ones((5, 2, 3), jnp.int32))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 17, 33])
def test_fused_equals_scan_if_its_chunks_are_longer_than_the_sequence(steps, reverse):
    """Without lengths: the steps that fill the last chunk must not change the state."""
    spec, params, x, state = random_layer("vanilla", T=steps)

    def gradients(backend):
        def loss(params, x, state):
            h, final, _ = unroll(spec, params, x, state, reverse=reverse, backend=backend)
            return jnp.square(h).sum() + final.h.sum() + jnp.square(final.c).sum(), (h, final)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, x, state)

    assert_near(gradients("fused"), gradients("scan"), 1e-5)


@pytest.mark.parametrize("name", ["np", "lstmp", "gru", "minlstm"])
def test_the_choice_of_a_backend_knows_the_call(monkeypatch, name):
    spec, params, x, _ = random_layer(name)
    calls = []
    module = import_module("lstm_lab.recurrence.unroll")
    monkeypatch.setattr(module, "resolve", lambda backend, call: calls.append(call) or "scan")
    expected = CallSignature(spec, x.dtype, B, D, H)
    unroll(spec, params, x)
    unroll(spec, params, x, resets=jnp.zeros((T, B), bool), trace=("h",))
    jax.vmap(lambda x: unroll(spec, params, x).h, axis_name=MEMBERS)(jnp.stack([x, x]))
    assert calls == [
        expected,
        expected._replace(resets=True, trace=True),
        expected._replace(members=2),
    ]


@pytest.mark.parametrize(
    ("name", "backend", "reverse"),
    [("zoneout", "fused", True), ("gru", "fused", False), ("vanilla", "scan", True)],
)
def test_the_loops_of_a_gpu_compute_the_same(name, backend, reverse):
    """19 steps in iterations of 8, and with `fused` in one chunk instead of two."""
    T = 19
    spec, params, x, state = random_layer(name, T=T)
    lengths, resets = np.array([19, 0, 8, 17]), np.zeros((T, 4), bool)
    resets[[3, 9], [0, 3]] = True
    state, noise = state_from(spec, params, x, state), noise_of(spec, params, T=T)

    def gradients(platform):
        def loss(params, x, state):
            h, final, _ = unroll(
                spec,
                params,
                x,
                state,
                lengths=lengths,
                resets=resets,
                noise=noise,
                reverse=reverse,
                backend=backend,
                device=DeviceType(platform, ""),
            )
            return jnp.square(h).sum() + final.h.sum(), (h, final)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, x, state)

    assert_near(gradients("gpu"), gradients("cpu"), 1e-5)


@pytest.mark.parametrize(
    ("name", "drawn_by", "message"),
    [
        ("lstm", "gru", "params: got b, bn, wh, wx, expected b, wh, wx"),
        ("peephole", "cifg", r"params.b: got shape \(3, 5\), expected \(4, 5\) for D=3 and H=5"),
        ("janet", "lstm", r"params.b: got shape \(4, 5\), expected \(2, 5\)"),
    ],
)
def test_parameters_of_another_cell_are_refused(name, drawn_by, message):
    """Kernels would read beyond their memory."""
    spec, _, x, _ = random_layer(name)
    params = random_layer(drawn_by)[1]
    for backend in ("auto", "scan"):
        with pytest.raises(ValueError, match=message):
            unroll(spec, params, x, backend=backend)


def test_parameters_of_a_wrong_shape_or_name_are_refused():
    spec, params, x, _ = random_layer("np")
    with pytest.raises(ValueError, match=r"params.wh: got shape \(5, 3, 5\), expected \(5, 4, 5\)"):
        unroll(spec, {**params, "wh": params["wh"][:, :3]}, x)
    with pytest.raises(ValueError, match="params: got kernel; expected wx, too"):
        unroll(spec, {"kernel": params["wx"]}, x)


def test_lengths_are_integers_up_to_the_number_of_steps():
    spec, params, x, _ = random_layer("np")
    listed = [T, 0, 2][:B] + [1] * (B - 3)
    expected = unroll(spec, params, x, lengths=jnp.array(listed)).h
    np.testing.assert_array_equal(unroll(spec, params, x, lengths=listed).h, expected)
    for wrong, message in (
        ([T + 1] * B, f"lengths: got {T + 1}, expected 0 to {T}"),
        ([-1] * B, "lengths: got -1, expected 0 to"),
        ([1.0] * B, "lengths: got dtype float32, expected integers"),
    ):
        with pytest.raises(ValueError, match=message):
            unroll(spec, params, x, lengths=wrong)


def test_other_things_than_specs_states_and_masks_are_named():
    spec, params, x, _ = random_layer("zoneout")
    with pytest.raises(TypeError, match="spec: got 'gru', expected a spec"):
        unroll("gru", params, x)
    for options, message in (
        ({"state": (jnp.zeros((B, H)),) * 2}, "state: got a tuple, expected a State"),
        ({"noise": jax.random.key(0)}, "noise: got a random key, expected the masks"),
        ({"noise": jnp.ones((T + 1, B, H))}, f"noise: got an array of shape .* axis of {T} or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            unroll(spec, params, x, **options)
