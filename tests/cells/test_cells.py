"""One time step: parameters, initial values, and the specs that are rejected.

tests/recurrence compares the equations with the oracle and the gradients with finite differences.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import (
    CATALOGUE,
    CellSpec,
    GRUSpec,
    MGUSpec,
    MinLSTMSpec,
    Noise,
    SLSTMSpec,
    State,
    get_variant,
    step,
)
from lstm_lab.cells.masks import default_rates

pytestmark = pytest.mark.usefixtures("strict")

D, H, B = 3, 4, 2

# Greff et al. 2017 at D=88, H=100, without the output layer's 88 * 100 + 88 parameters.
COUNTS = {
    "vanilla": 75_900,
    "nig": 56_900,
    "nfg": 56_900,
    "nog": 56_900,
    "niaf": 75_900,
    "noaf": 75_900,
    "cifg": 56_900,
    "np": 75_600,
    "fgr": 165_900,
    "lstm": 75_600,
    "peephole": 75_900,
    "layernorm": 75_600 + 400 + 400 + 200,
    "lstmp": 4 * 100 * (88 + 50 + 1) + 300 + 100 * 50,
    "multiplicative": 75_600 + 88 * 100 + 100 * 100,
    "janet": 2 * 100 * (88 + 100 + 1),
    "chrono": 75_600,
    "zoneout": 75_600,
    "variational": 75_600,
    "variational_untied": 75_600,
    "semeniuta": 75_600,
    "weightdrop": 75_600,
    "slstm": 75_600,
    "minlstm": 3 * 100 * (88 + 1),
    "rnn": 100 * (88 + 100 + 1),
    "gru": 3 * 100 * (88 + 100 + 1) + 100,
    "mgu": 2 * 100 * (88 + 100 + 1),
}


def random_params(name, seed=0):
    """Returns a spec and parameters without zeros, so that biases and peepholes have an effect."""
    spec = get_variant(name).spec
    params = spec.cell.init(spec, jax.random.key(seed), D, H)
    keys = jax.random.split(jax.random.key(seed + 1), len(params))
    return spec, {
        k: 0.5 * jax.random.normal(key, v.shape, v.dtype)
        for key, (k, v) in zip(keys, sorted(params.items()), strict=True)
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_variant_has_the_expected_number_of_parameters(name):
    spec = get_variant(name).spec
    params = jax.eval_shape(lambda key: spec.cell.init(spec, key, 88, 100), jax.random.key(0))
    assert sum(np.prod(p.shape) for p in params.values()) == COUNTS[name]


def test_forget_bias_sets_the_initial_bias():
    for spec, gate, sign in (
        (CellSpec(forget_bias=2.0), 1, 1.0),
        (CellSpec(gates="io", coupled=True, forget_bias=2.0), 0, -1.0),
        (SLSTMSpec(forget_bias=2.0), 1, 1.0),
        (MinLSTMSpec(forget_bias=2.0), 1, 1.0),
        (MGUSpec(forget_bias=2.0), 0, 1.0),
    ):
        b = spec.cell.init(spec, jax.random.key(0), D, H)["b"]
        expected = np.zeros_like(b)
        expected[gate] = sign * 2.0
        np.testing.assert_array_equal(b, expected)


def test_a_spec_is_shown_without_the_functions_of_its_cell():
    for name, variant in CATALOGUE.items():
        assert "cell=" not in repr(variant.spec), name


def test_initializers_draw_each_gate_as_named():
    spec = CellSpec(init="orthogonal")
    params = spec.cell.init(spec, jax.random.key(0), D, 16)
    for gate in range(4):
        w = params["wh"][:, gate]
        np.testing.assert_allclose(w @ w.T, np.eye(16), atol=1e-5)
    for init, low, high in (("uniform(0.05)", 0.04, 0.05), ("uniform", 0.2, 0.25)):
        spec = CellSpec(init=init)
        params = spec.cell.init(spec, jax.random.key(0), D, 16)
        matrices = params["wx"], params["wh"]
        assert low < max(float(jnp.abs(v).max()) for v in matrices) <= high
        # PyTorch adds two biases.
        assert float(jnp.abs(params["b"]).max()) <= (2 * high if init == "uniform" else high)
    spec = CellSpec(peephole="ifo", init="normal(0.1)")
    params = spec.cell.init(spec, jax.random.key(0), 50, 100)
    assert all(abs(float(v.std()) - 0.1) < 0.02 for v in params.values())


def test_zero_peepholes_equal_no_peepholes():
    spec, params = random_params("peephole")
    zero = {**params, "peephole": jnp.zeros_like(params["peephole"])}
    bare = {k: v for k, v in params.items() if k != "peephole"}
    x = jax.random.normal(jax.random.key(2), (B, D))
    state = State(jnp.full((B, H), 0.2), jnp.full((B, H), 0.4))
    with_zero, without = (
        step(spec, zero, x, state)[0],
        step(get_variant("np").spec, bare, x, state)[0],
    )
    np.testing.assert_allclose(with_zero.h, without.h, atol=1e-7)


def test_bfloat16_keeps_the_cell_state_in_float32():
    spec, params = random_params("vanilla")
    new, _ = step(spec, params, jnp.ones((B, D), jnp.bfloat16))
    assert new.h.dtype == jnp.bfloat16
    assert new.c.dtype == jnp.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gates": "fi"}, "gates: got 'fi'"),
        ({"gates": "if", "peephole": "o"}, "peephole: got 'o'"),
        ({"coupled": True}, "coupled: needs gates with one of i and f"),
        ({"gates": "io", "gate_recurrence": True}, "gate_recurrence: needs gates 'ifo'"),
        ({"gates": "io", "forget_bias": 1.0}, "without a forget gate"),
        ({"candidate": "swish"}, "candidate: got 'swish'"),
        ({"init": "normal"}, "init: got 'normal'"),
        ({"init": "chrono(2)"}, r"init: got 'chrono\(2\)'"),
        ({"init": "chrono(9)", "gates": "o"}, "sets the biases of i and f"),
        ({"init": "janet(9)", "gates": "io"}, "sets the biases of i and f, got gates 'io' without"),
        ({"init": "chrono(9)", "forget_bias": 1.0}, "sets the forget bias"),
        ({"coupled_offset": 1.0}, "coupled_offset: got 1.0, and no gate is coupled"),
        ({"projection": 1.5}, "projection: got 1.5"),
        ({"projection": 0.5, "zoneout": True}, "zoneout: keeps units of h"),
        ({"recurrent_dropout": "gal"}, "recurrent_dropout: got 'gal', expected None, variational"),
        (
            {"multiplicative": True, "recurrent_dropout": "variational_untied"},
            "variational_untied needs a product for each gate",
        ),
    ],
)
def test_invalid_specs_are_rejected(fields, message):
    with pytest.raises(ValueError, match=message):
        CellSpec(**fields)


@pytest.mark.parametrize("init", ["chrono(100)", "janet(100)"])
def test_every_variant_draws_memory_biases_or_rejects_them(init):
    for name in CATALOGUE:
        spec = get_variant(name).spec
        # The other bias of the forget gate; a spec takes one of them.
        other = {"forget_bias": 0.0} if hasattr(spec, "forget_bias") else {}
        if name in ("nfg", "rnn", "gru", "mgu", "slstm", "minlstm"):
            with pytest.raises(ValueError, match="init: .* sets the biases of i and f"):
                replace(spec, init=init, **other)
        else:
            spec = replace(spec, init=init, **other)
            b = spec.cell.init(spec, jax.random.key(0), D, 16)["b"]
            # log U(1, T - 1), or its negative, of i or f.
            assert (np.abs(b) > 1.0).any(), name


def test_an_unknown_variant_suggests_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'peephole'"):
        get_variant("peepole")


def test_cells_that_use_no_noise_reject_it():
    for name in CATALOGUE:
        spec, params = random_params(name)
        if not default_rates(spec) or name == "weightdrop":
            with pytest.raises(ValueError, match="noise"):
                step(spec, params, jnp.ones((B, D)), noise=Noise(zoneout_h=jnp.ones((B, H))))


def test_slstm_heads_do_not_affect_each_other():
    spec = SLSTMSpec(heads=2)
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    state, _ = step(spec, params, jnp.ones((B, D)))
    zh = spec.cell.recur(spec, params, None, state).reshape(B, 4, 2, H // 2)
    changed = state._replace(h=state.h.at[:, : H // 2].add(1.0))
    after = spec.cell.recur(spec, params, None, changed).reshape(B, 4, 2, H // 2)
    assert (zh != after)[:, :, 0].any()
    np.testing.assert_array_equal(zh[:, :, 1], after[:, :, 1])
    with pytest.raises(ValueError, match="heads: got 3"):
        SLSTMSpec(heads=3).cell.init(SLSTMSpec(heads=3), jax.random.key(0), D, H)


def test_biases_of_uniform_are_sums_of_two_as_in_pytorch():
    spec = CellSpec(init="uniform")
    b = spec.cell.init(spec, jax.random.key(0), D, 2500)["b"]
    # The sum of two numbers of U(-s, s), s = 1 / 50, has the variance 2 s^2 / 3 and reaches 2 s.
    np.testing.assert_allclose(b.var(), 2 / 3 / 2500, rtol=0.05)
    assert 1.9 / 50 < np.abs(b).max() <= 2 / 50
    # One draw where there is one bias: GRU's candidate has its second one inside the reset, and
    # minLSTM has no recurrent product.
    gru = GRUSpec(init="uniform")
    params = gru.cell.init(gru, jax.random.key(0), D, 2500)
    assert np.abs(params["b"][:2]).max() > 1.9 / 50
    assert max(np.abs(params["b"][2]).max(), np.abs(params["bn"]).max()) <= 1 / 50
    minlstm = MinLSTMSpec(init="uniform", forget_bias=0.0)
    assert np.abs(minlstm.cell.init(minlstm, jax.random.key(0), D, 2500)["b"]).max() <= 1 / 50


def test_slstm_starts_as_in_the_code_of_its_authors():
    spec = SLSTMSpec(heads=2, recurrent="zero", forget_bias="power_law")
    params = spec.cell.init(spec, jax.random.key(0), D, 8)
    assert not params["wh"].any()
    # Figures of NX-AI/xlstm, slstm/cell.py, for a head of four units.
    head = [5.0, 5.0 - 12.0 * (1 / 3) ** 0.3, 5.0 - 12.0 * (2 / 3) ** 0.3, -7.0]
    np.testing.assert_allclose(params["b"][1], head * 2, rtol=1e-5)
    assert not params["b"][jnp.array([0, 2, 3])].any()


def test_janet_starts_as_in_the_code_of_its_authors():
    spec, width, inputs = get_variant("janet").spec, 400, 100
    params = spec.cell.init(spec, jax.random.key(0), inputs, width)
    # Glorot's bound for one matrix of both gates.
    for name, rows in (("wx", inputs), ("wh", width)):
        bound = (6.0 / (rows + 2 * width)) ** 0.5
        largest = np.abs(params[name]).max((0, 2))
        assert (largest <= bound).all()
        assert (largest > 0.999 * bound).all()
    f, g = params["b"]
    assert not g.any()
    # log U(1, 784): its exponential has the mean 392.5, with an error of 11 for 400 units.
    np.testing.assert_allclose(np.exp(f).mean(), 392.5, atol=40.0)
    assert (f >= 0.0).all()
    assert (f <= np.log(784.0)).all()


def test_gru_can_reset_before_the_product():
    spec = GRUSpec(reset="before")
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    assert set(params) == {"wx", "wh", "b"}
    x = jax.random.normal(jax.random.key(1), (B, D))
    h = jax.random.normal(jax.random.key(2), (B, H))
    state, gates = step(spec, params, x, State(h))
    wx, wh, x, h = (np.asarray(a, np.float64) for a in (params["wx"], params["wh"], x, h))

    def sigmoid(z):
        return 1.0 / (1.0 + np.exp(-z))

    r, z = (sigmoid(x @ wx[:, k] + h @ wh[:, k]) for k in (0, 1))
    n = np.tanh(x @ wx[:, 2] + (r * h) @ wh[:, 2])
    np.testing.assert_allclose(gates["r"], r, rtol=1e-5)
    np.testing.assert_allclose(state.h, (1.0 - z) * n + z * h, rtol=1e-5, atol=1e-6)


def test_minlstm_can_have_the_candidate_of_its_log_space():
    x = jnp.array([[-2.0], [3.0]])
    params = {"wx": jnp.ones((1, 3, 1)), "b": jnp.array([[100.0], [0.0], [0.0]])}
    spec = MinLSTMSpec(candidate="positive", forget_bias=0.0)
    state, gates = step(spec, params, x)
    g = np.array([[1.0 / (1.0 + np.exp(2.0))], [3.5]])  # sigmoid below zero, else x + 0.5
    np.testing.assert_allclose(state.h, gates["i"] * g, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRUSpec(reset="never"), "reset: got 'never', expected after, before"),
        (lambda: MinLSTMSpec(candidate="relu"), "candidate: got 'relu', expected identity, pos"),
        (lambda: SLSTMSpec(recurrent="one"), "recurrent: got 'one', expected drawn, zero"),
        (lambda: SLSTMSpec(forget_bias="linear"), "forget_bias: got 'linear', expected a number"),
    ],
)
def test_options_outside_their_choices_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_slstm_stays_finite_for_large_inputs():
    spec, params = random_params("slstm")
    state = None
    for _ in range(5):
        state, _ = step(spec, params, jnp.full((B, D), 200.0), state)
    assert np.isfinite(state.h).all()
    assert np.abs(state.h).max() <= 1.0


def test_chrono_biases_cover_the_range_of_lags():
    spec = CellSpec(init="chrono(100)")
    b = spec.cell.init(spec, jax.random.key(0), D, 500)["b"]
    assert 0.0 <= b[1].min() < 1.5
    assert 4.3 < b[1].max() <= np.log(99.0)
    np.testing.assert_array_equal(b[0], -b[1])
