"""The persistent kernel in the interpreter of Pallas, against the oracle and the backend `scan`.

No test runs on a device: the interpreter computes what the kernel says, on the CPU.
"""

import re
from dataclasses import replace
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_lab.cells import (
    CATALOGUE,
    GATED_LSTM,
    CellSpec,
    RNNSpec,
    SLSTMSpec,
    State,
    get_variant,
    masks,
)
from lstm_lab.cells.gated import pointwise
from lstm_lab.compilation.targets import find_target
from lstm_lab.compilation.topologies import devices_of
from lstm_lab.recurrence import BACKENDS, CallSignature, DeviceType, choose, device_type, unroll
from lstm_lab.recurrence import unsupported_reason as reason_of
from lstm_lab.recurrence.backends import persistent
from lstm_lab.recurrence.backends.mosaic.primitives import ELEMENTWISE
from lstm_lab.recurrence.backends.mosaic.weights import _split
from tests.helpers import against_oracle
from tests.helpers.recurrence import LENGTHS, RESETS, B, D, H, T, random_layer

H100 = DeviceType("gpu", "NVIDIA H100 80GB HBM3")
# Masks are refused, and without them these have the equations of `lstm`.
WITHOUT_MASKS = [name for name in CATALOGUE if not masks.is_drawn(get_variant(name).spec)]
FAST = ("vanilla",)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    monkeypatch.setattr(persistent, "INTERPRET", True)


def results(backend, spec, params, x, precision="highest", **options):
    """Returns h, the final state, and all gradients of a layer."""

    def loss(params, x):
        h, final, _ = unroll(spec, params, x, backend=backend, precision=precision, **options)
        ends = sum(jnp.sin(leaf.astype(jnp.float32)).sum() for leaf in jax.tree.leaves(final))
        return jnp.sin(3.0 * h.astype(jnp.float32)).sum() + ends, (h, final)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)


def largest_error(outputs, expected):
    """Returns the largest deviation, over the largest magnitude of each array."""

    def error(a, b):
        a, b = np.float64(a), np.float64(b)
        return np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)

    return max(jax.tree.leaves(jax.tree.map(error, outputs, expected)))


def check_against_the_oracle(name, mode):
    with jax.default_matmul_precision("highest"):
        against_oracle.check(name, "persistent", mode)


@pytest.mark.parametrize("name", FAST)
def test_a_variant_equals_the_oracle(name):
    check_against_the_oracle(name, "reverse")


@pytest.mark.slow
@pytest.mark.parametrize("mode", against_oracle.MODES)
@pytest.mark.parametrize("name", WITHOUT_MASKS)
def test_every_variant_equals_the_oracle(name, mode, monkeypatch):
    # At this precision, fgr fits no device. The interpreter has more memory.
    monkeypatch.setattr(persistent, "SHARED_MEMORY", 2**20)
    check_against_the_oracle(name, mode)


def test_a_users_cell_equals_scan():
    assert largest_error(*(of_the_users_cell(b) for b in ("persistent", "scan"))) < 1e-5


def of_the_users_cell(backend):
    """Returns the results of a cell with every function that the kernel writes out itself."""

    def unusual(spec, params, zx, zh, state, noise=None):
        new, gates = pointwise(spec, params, zx, zh, state, noise)
        c = jnp.log1p(jnp.square(new.c)) + jnp.expm1(jnp.clip(0.3 * new.c, -1.0, 0.4))
        c = c + jnp.where((c > 0.1) & (new.c < 2.0), jnp.sqrt(jnp.abs(c) + 0.5), jnp.sin(c) ** 3)
        share = jnp.exp(c - c.max(1, keepdims=True))
        h = jnp.sign(c) * jnp.cos(c) * gates["o"] + share / share.sum(1, keepdims=True)
        return new._replace(h=h.astype(state.h.dtype), c=c), gates

    spec = CellSpec(cell=replace(GATED_LSTM, pointwise=unusual))
    _, params, x, _ = random_layer(spec, T=4)
    return results(backend, spec, params, x, lengths=jnp.array([4, 0, 3, 1]))


def test_tiles_of_rows_and_units_equal_scan():
    # Two tiles of 16 rows and two of 64 units, neither of them full; R and H differ.
    spec, params, x, _ = random_layer("lstmp", T=3, B=18, H=70)
    params = jax.tree.map(lambda a: 0.3 * a, params)
    # At the highest precision, the matrices would not fit.
    both = (results(backend, spec, params, x, "default") for backend in ("persistent", "scan"))
    assert largest_error(*both) < 5e-5


@pytest.mark.slow
def test_heads_equal_scan():
    spec, params, x, _ = random_layer(SLSTMSpec(heads=2), H=6)
    both = (results(backend, spec, params, x, "default") for backend in ("persistent", "scan"))
    assert largest_error(*both) < 5e-5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rnn", {"reverse": True, "resets": RESETS}),
        pytest.param("lstmp", {}, marks=pytest.mark.slow),  # R is 1, too
    ],
)
def test_layers_with_one_unit_equal_scan(name, options):
    spec, params, x, _ = random_layer(name, H=1)
    both = (results(b, spec, params, x, **options) for b in ("persistent", "scan"))
    assert largest_error(*both) < 1e-5


@pytest.mark.slow
def test_heads_of_one_unit_equal_scan():
    spec, params, x, _ = random_layer(SLSTMSpec(heads=2), H=2)
    both = (results(backend, spec, params, x, "default") for backend in ("persistent", "scan"))
    assert largest_error(*both) < 5e-5


def test_a_state_of_one_value_per_row_equals_scan():
    """Its field c lies between h and n, but behind them in the tile of the carried values."""

    def with_a_mean(spec, params, zx, zh, state, noise=None):
        z = zx + zh
        c = 0.5 * state.c + jnp.sin(z).mean(-1, keepdims=True)
        n = jnp.tanh(state.n + z)
        return State(jnp.tanh(z + c) * n, c, n=n), {}

    def zeros(spec, params, zx, h_dtype):
        return State(jnp.zeros_like(zx), jnp.zeros_like(zx[:, :1]), n=jnp.zeros_like(zx))

    cell = get_variant("rnn").spec.cell
    spec = RNNSpec(cell=replace(cell, pointwise=with_a_mean, initial=zeros))
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    x = jax.random.normal(jax.random.key(1), (T, B, D))
    options = {"reverse": True, "resets": RESETS, "lengths": LENGTHS}
    both = (results(b, spec, params, x, **options) for b in ("persistent", "scan"))
    assert largest_error(*both) < 1e-5


@pytest.mark.parametrize("name", ["sqrt", "sign", "log1p", "expm1"])
def test_functions_of_unusual_numbers_equal_those_of_jax(name):
    x = jnp.float32(
        [-jnp.inf, -2.0, -1.0, -0.0, 0.0, 1e-30, 1e-8, 0.3, 7.0, 3e38, jnp.inf, jnp.nan]
    )
    np.testing.assert_allclose(ELEMENTWISE[name](x), getattr(lax, name)(x), rtol=1e-6)


@pytest.mark.slow
def test_two_states_with_one_equation_equal_scan():
    # h and c are equal after a real step, and not before the first one, which comes after padding.
    spec, params, x, state = random_layer(CellSpec(gates="if", output="identity"))
    options = {"state": state, "lengths": jnp.array(LENGTHS), "reverse": True}
    both = (results(backend, spec, params, x, **options) for backend in ("persistent", "scan"))
    assert largest_error(*both) < 1e-5


@pytest.mark.slow
def test_a_clamped_gate_equals_scan():
    spec, params, x, _ = random_layer("lstm")
    both = (results(b, spec, params, x, clamp={"f": 0.5}) for b in ("persistent", "scan"))
    assert largest_error(*both) < 1e-5


def test_members_are_blocks_of_one_launch():
    spec, _, x, _ = random_layer("rnn", T=3)
    keys = jax.random.split(jax.random.key(1), 3)
    members = [spec.cell.init(spec, key, *x.shape[2:], 5) for key in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)

    def run(params, x):
        return results("persistent", spec, params, x)

    together = jax.vmap(run, (0, None))(stacked, x)
    text = jax.jit(jax.vmap(run, (0, None))).trace(stacked, x).jaxpr.pretty_print()
    assert text.count("grid=(3, 1") == 2
    for k, params in enumerate(members):
        alone = run(params, x)
        # Each member computes the same products; XLA adds up the weights' gradients otherwise.
        assert largest_error(jax.tree.map(lambda a, k=k: a[k], together), alone) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "dtype", "lowest", "highest"),
    [
        ("highest", jnp.float32, 0.0, 1e-6),
        ("default", jnp.float32, 1e-7, 5e-5),
        ("bfloat16", jnp.float32, 1e-4, 3e-2),
        ("default", jnp.bfloat16, 1e-4, 5e-2),
    ],
)
def test_precisions(precision, dtype, lowest, highest):
    spec, params, x, _ = random_layer("lstm", H=32)
    params = jax.tree.map(lambda a: 0.5 * a, params)
    expected = results("scan", spec, params, x)
    outputs = results("persistent", spec, params, x.astype(dtype), precision)
    (_, (h, final)), _ = outputs
    assert (h.dtype, final.h.dtype, final.c.dtype) == (dtype, dtype, jnp.float32)
    assert lowest < largest_error(outputs, expected) < highest


def test_products_of_gradients_have_the_precision_of_the_call():
    spec, params, x, _ = random_layer("rnn", T=2)

    def loss(params, x):
        return unroll(spec, params, x, backend="persistent", precision="highest").h.sum()

    text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, x))
    assert text.count("dot_general[") == len(re.findall(r"precision=\S*HIGHEST", text)) > 3


@pytest.mark.parametrize(
    ("precision", "pieces"),
    [
        (None, 2),
        ("TF32_TF32_F32", 2),
        ("BF16_BF16_F32", 1),
        ("F32_F32_F32", 3),
        ("BF16_BF16_F32_X6", 3),
        ("float32", 3),
    ],
)
def test_the_number_of_pieces_follows_from_the_precision(precision, pieces):
    with jax.default_matmul_precision(precision):
        assert persistent._pieces(jnp.float32) == pieces
        assert persistent._pieces(jnp.bfloat16) == 1


def test_pieces_add_up_to_the_number():
    x = jnp.float32(np.random.default_rng(0).normal(size=1000))
    for pieces, digits in ((1, 8), (2, 16), (3, 24)):
        parts = np.float64(jax.jit(_split, static_argnums=1)(x, pieces))
        assert np.abs(parts.sum(0) / x - 1.0).max() <= 2.0**-digits


def test_the_reasons_for_an_unsupported_call(monkeypatch):
    def reason(name="lstm", dtype=jnp.float32, **fields):
        spec = get_variant(name).spec if isinstance(name, str) else name
        return reason_of("persistent", CallSignature(spec, dtype, **{"device": H100, **fields}))

    def with_floor(spec, params, zx, zh, state, noise=None):
        new, gates = pointwise(spec, params, zx, zh, state, noise)
        return State(jnp.floor(new.h), new.c), gates

    floor = CellSpec(cell=replace(GATED_LSTM, pointwise=with_floor))

    def with_rounding(spec, params, zx, zh, state, noise=None):
        new, gates = pointwise(spec, params, zx, zh, state, noise)
        return State(new.h.astype(jnp.bfloat16).astype(new.h.dtype), new.c), gates

    rounded = CellSpec(cell=replace(GATED_LSTM, pointwise=with_rounding))
    monkeypatch.setattr(persistent, "INTERPRET", False)
    assert reason() is None
    assert reason(dtype=jnp.bfloat16, H=128) is None
    assert reason(resets=True, clamp=(("f", 0.5),)) is None
    for expected, given in {
        "platform: got cpu, persistent supports gpu": {"device": DeviceType("cpu", "cpu")},
        "device: got NVIDIA A100, persistent": {"device": DeviceType("gpu", "NVIDIA A100")},
        "dtype: got float16, persistent supports": {"dtype": jnp.float16},
        "params['b']: got dtype float16, persistent supports": {
            "unusual_dtype": "params['b']: got dtype float16"
        },
        "B: got 0, persistent expects": {"B": 0},
        "trace: persistent returns no gates": {"trace": True},
        "noise: persistent does not support it": {"noise": True},
        "H: got 128, whose matrices take 288 KB of shared": {"H": 128},
        "convert_element_type: got float32 to bfloat16, expected": {"name": rounded},
        "primitive: got floor, persistent has no": {"name": floor},
    }.items():
        assert reason(**given).startswith(expected), reason(**given)
    with jax.default_matmul_precision("highest"):
        assert "H: got 128, whose matrices take 432 KB" in reason(H=128)


def test_auto_never_chooses_it():
    for name in CATALOGUE:
        assert (
            choose(CallSignature(get_variant(name).spec, jnp.float32, device=H100)) != BACKENDS[-1]
        )
    assert BACKENDS[-1] == "persistent"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vanilla", "layernorm", "slstm"])
def test_it_compiles_for_the_h100(name, monkeypatch):
    # The compiler, NVIDIA's assembler included, needs its packages and no GPU.
    if not any(map(find_spec, ("jax_cuda12_plugin", "jax_cuda13_plugin"))):
        pytest.skip("needs the extra cuda12 or cuda13")
    monkeypatch.setattr(persistent, "INTERPRET", False)
    device = devices_of(find_target("h100"))[0]
    sharding = NamedSharding(Mesh(np.array([device]), ("x",)), PartitionSpec())
    spec, params, x, _ = random_layer(name, B=20, D=64, H=64)

    def run(params, x):
        return results("persistent", spec, params, x, "default", device=device_type(device))

    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (params, x))
    traced = jax.jit(run, in_shardings=sharding, out_shardings=sharding).trace(*shapes)
    text = traced.lower(lowering_platforms=("cuda",)).compile().as_text()
    assert text.count('custom_call_target="mosaic_gpu_v2"') == 2
