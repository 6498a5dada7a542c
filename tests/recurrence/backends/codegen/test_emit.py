"""Kernels from equations: users' cells, all primitives, what is refused, second derivatives."""

from dataclasses import dataclass, field, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, State, get_variant
from lstm_lab.cells.cell import Cell, identity
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.cells.masks import Noise
from lstm_lab.recurrence import CallSignature, choose, unroll, unsupported_reason
from lstm_lab.recurrence.backends.codegen.emit import Key, generate
from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError
from lstm_lab.recurrence.backends.codegen.primitives import ELEMENTWISE, FLAGS
from lstm_lab.recurrence.backends.codegen.schedule import choose_saved
from tests.helpers.recurrence import B, D, H, T, assert_near, random_layer

# Primitives that JAX traces only as a part of others or in some versions, or that compute nothing.
IMPLIED = {"convert_element_type", "copy", "erf", "one_minus_square", "stop_gradient"}


def functions(z):
    """Returns functions of z that use every primitive; their derivatives are finite."""
    p = 0.5 + jnp.square(z)
    flags = (z > 0.1) & (z < 2.0) | ~(z >= -1.0) & (z != 0.3) | (z <= -3.0) & (z == z)
    return (
        jnp.where(flags & jnp.isfinite(z), z, 0.5 * z),
        jnp.maximum(z, 0.2) + jnp.minimum(z, -0.2) + jax.lax.clamp(-0.5, z, 0.5),
        jnp.abs(z) + jnp.sign(z) + z**3 - jnp.floor(z) + jnp.ceil(2.0 * z),
        jnp.sqrt(p) + jax.lax.rsqrt(p) + p**z,
        jnp.exp(-p) + jnp.expm1(0.1 * z) + jnp.log(p) + jnp.log1p(p),
        jnp.sin(z) + jnp.cos(z) + jnp.tan(0.3 * z) + jnp.arctan(z),
        jnp.sinh(0.3 * z) + jnp.cosh(0.3 * z) + jax.nn.sigmoid(z) / p + jnp.tanh(z),
    )


def zoo_init(spec, key, D, H):
    keys = jax.random.split(key, 3)
    return {
        "wx": 0.3 * jax.random.normal(keys[0], (D, 1, H)),
        "wh": 0.3 * jax.random.normal(keys[1], (H, 1, H)),
        "b": jnp.zeros((1, H)),
        "scale": jax.random.normal(keys[2], (H,)),
        "slope": jnp.float32(0.7),
    }


def zoo_pointwise(spec, params, zx, zh, state, noise=None):
    # A softmax over the units: a maximum and a sum of each row. A weight that is one number.
    z = jnp.tanh(zx + zh) * params["scale"][None] + params["slope"]
    share = jax.nn.softmax(z)
    h = jnp.tanh(sum(functions(z))) * 0.5 + share - z.mean(-1, keepdims=True)
    return State(h), {"share": share}


def zoo_initial(spec, params, zx, h_dtype):
    return State(jnp.zeros_like(zx))


ZOO = Cell(zoo_init, GATED_LSTM.project, GATED_LSTM.recur, zoo_pointwise, identity, zoo_initial)


@dataclass(frozen=True)
class Own:
    """A cell that is not of the gated family."""

    cell: Cell = field(default_factory=lambda: ZOO, repr=False)


def results(spec, backend, T=T, B=B, D=D, H=H, **options):
    """Returns outputs, traced gates and gradients of a layer with random lengths and resets."""
    params = spec.cell.init(spec, jax.random.key(0), D, H)
    x = jax.random.normal(jax.random.key(1), (T, B, D))
    lengths = jax.random.randint(jax.random.key(2), (B,), 0, T + 1)
    resets = jax.random.bernoulli(jax.random.key(3), 0.2, (T, B))

    def loss(params, x):
        run = partial(unroll, spec, params, x, lengths=lengths, resets=resets, backend=backend)
        result = run(**options)
        return jnp.square(result.h).sum() + result.final.h.sum(), result

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)


def test_a_users_cell_of_every_primitive_equals_scan():
    program = jax.make_jaxpr(lambda z: jax.vjp(lambda z: sum(functions(z)), z)[1](z))(jnp.ones(3))
    missing = {name for name in ELEMENTWISE if f"= {name}" not in str(program)}
    assert missing <= IMPLIED
    for shape in ({}, {"B": 19, "H": 37}):
        native, scan = (
            results(Own(), backend, trace=("share", "h"), **shape) for backend in ("native", "scan")
        )
        assert_near(native, scan, 2e-5)


def test_auto_takes_the_kernel_for_a_users_cell():
    assert choose(CallSignature(Own(), jnp.float32)) == "native"


def swapped(spec, params, zx, zh, state, noise=None):
    """The state's part of gate i is added to f, and that of f to i."""
    n = zh.shape[1] // 4
    zh = jnp.concatenate([zh[:, n : 2 * n], zh[:, :n], zh[:, 2 * n :]], 1)
    return GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)


def deep_recur(spec, params, zx, state, noise=None):
    """A product with the state, a function of it, and a second product."""
    w = params["wh"].reshape(params["wh"].shape[0], -1)
    inner = jnp.tanh(state.h @ w[:, : w.shape[0]]) * state.c
    return inner @ w + state.h @ w


def own_project(spec, params, x):
    return jnp.sin(x) @ params["wx"].reshape(params["wx"].shape[0], -1)


@pytest.mark.parametrize(
    "change", [{"pointwise": swapped}, {"recur": deep_recur}, {"project": own_project}]
)
def test_a_cell_with_one_own_function_equals_scan(change):
    spec = CellSpec(peephole="f", cell=replace(GATED_LSTM, **change))
    assert_near(results(spec, "native"), results(spec, "scan"), 1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        CellSpec(gates="fo", peephole="o", candidate="relu", output="sigmoid"),
        CellSpec(layer_norm=True, projection=0.6, gate_recurrence=True, peephole="if"),
        CellSpec(gates="i", coupled=True, coupled_offset=0.5, multiplicative=True),
        replace(get_variant("slstm").spec, heads=2, forget="exponential"),
    ],
)
def test_combinations_of_fields_equal_scan(spec):
    options = {"T": 20, "B": 17, "H": 22, "trace": ("*",), "reverse": True}
    assert_near(results(spec, "native", **options), results(spec, "scan", **options), 1e-5)


def simple(function):
    """Returns a simple RNN whose new state is a function of zx and zh."""

    def pointwise(spec, params, zx, zh, state, noise=None):
        return State(function(zx, zh)), {}

    return Own(replace(ZOO, pointwise=pointwise))


# Their flags compare values of which the backward pass needs more than one.
OF_FLAGS = {
    "relu6": lambda a, b: jax.nn.relu6(a + b),
    "hard_sigmoid": lambda a, b: jax.nn.hard_sigmoid(a + b),
    "clamp": lambda a, b: jax.lax.clamp(-1.0, a + b, 1.0),
    "not": lambda a, b: jnp.where(~(a > b), a, b),
    "and": lambda a, b: jnp.where((a > 0) & (b > 0), a, b),
    "choice": lambda a, b: jnp.where(jnp.where(a > b, a + b < 1, a + b > -1), a, b),
}


@pytest.mark.parametrize("name", OF_FLAGS)
def test_no_flag_is_saved(name):
    graph = generate(Key(simple(OF_FLAGS[name]))).graph
    saved = {graph.nodes[k].op for k in choose_saved(graph)}
    assert saved
    assert not saved & FLAGS


@pytest.mark.parametrize("name", ["relu6", "choice"])
def test_a_cell_of_flags_equals_scan(name):
    spec = simple(OF_FLAGS[name])
    assert_near(results(spec, "native"), results(spec, "scan"), 1e-5)


def test_clamped_gates_equal_scan():
    spec = get_variant("vanilla").spec
    options = {"clamp": {"f": 0.25, "g": 1.0}, "trace": ("f", "c")}
    assert_near(results(spec, "native", **options), results(spec, "scan", **options), 1e-5)


def test_gradients_of_traced_gates_and_of_masks_are_those_of_scan():
    spec, params, x, _ = random_layer("zoneout")
    masks = jax.random.uniform(jax.random.key(8), (T, B, H))

    def loss(backend, masks):
        noise = spec_noise(masks)
        result = unroll(spec, params, x, noise=noise, trace=("f",), backend=backend)
        return jnp.square(result.traced["f"]).sum() + result.h.sum()

    native, scan = (jax.grad(partial(loss, name))(masks) for name in ("native", "scan"))
    assert np.abs(scan).max() > 0.1
    assert_near(native, scan, 1e-5)


def spec_noise(masks):
    return Noise(zoneout_c=masks, zoneout_h=masks)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, H), (T, 1, 1), (1, B, 1), (T, 1, H), (1, B, H)]
)
def test_masks_that_steps_rows_or_units_share_equal_scan(shape):
    spec, params, x, _ = random_layer("zoneout")
    noise = spec_noise(jax.random.uniform(jax.random.key(8), shape))
    native, scan = (unroll(spec, params, x, noise=noise, backend=b) for b in ("native", "scan"))
    assert_near(native, scan, 1e-5)


# ---- what is refused


def with_pointwise(function):
    def pointwise(spec, params, zx, zh, state, noise=None):
        state, gates = GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)
        return state._replace(h=function(state.h)), gates

    return CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda h: jnp.cumsum(h, 1), "primitive: got cumsum, which no kernel computes"),
        (jax.lax.digamma, "primitive: got digamma, which no kernel computes"),
        (lambda h: jnp.repeat(h[:, ::2], 2, 1), "slice"),
        (lambda h: jnp.roll(h, 1, 1), "slice: got a cut within a vector of units"),
        (
            lambda h: h.astype(jnp.bfloat16).astype(jnp.float32),
            "convert_element_type: got float32 to bfloat16, expected a flag to a number",
        ),
        (
            lambda h: h.astype(jnp.float16).astype(jnp.float32),
            "convert_element_type: got float32 to float16, expected a flag to a number",
        ),
        (
            lambda h: (4.0 * h).astype(jnp.int32).astype(jnp.float32),
            "convert_element_type: got float32 to int32, expected a flag to a number",
        ),
        (lambda h: h * 6720.0, "depend on the number of units"),
    ],
)
def test_a_cell_without_a_kernel_is_refused_by_name(function, reason):
    spec = with_pointwise(function)
    with pytest.raises(UnsupportedError, match=reason):
        generate(Key(spec))
    assert reason in unsupported_reason("native", CallSignature(spec, jnp.float32))
    assert choose(CallSignature(spec, jnp.float32)) in ("scan", "fused")


def test_erf_equals_scan_or_is_refused_by_name():
    """Since JAX 0.12 its derivative reads the bits of numbers, which kernels do not."""
    spec = with_pointwise(jax.lax.erf)
    reason = unsupported_reason("native", CallSignature(spec, jnp.float32))
    if reason is None:
        assert_near(results(spec, "native"), results(spec, "scan"), 1e-5)
    else:
        assert "primitive: got bitcast_convert_type" in reason


def test_a_cell_of_one_size_is_refused():
    def init(spec, key, D, H):
        if H != 16:
            raise ValueError("this cell has 16 units")
        return GATED_LSTM.init(spec, key, D, H)

    call = CallSignature(CellSpec(cell=replace(GATED_LSTM, init=init)), jnp.float32)
    assert "it raises: this cell has 16 units" in unsupported_reason("native", call)


def test_variants_that_differ_in_initial_weights_share_a_kernel():
    texts = {name: generate(Key(variant.spec)).text for name, variant in CATALOGUE.items()}
    assert texts["lstm"] == texts["np"] == texts["chrono"] == texts["weightdrop"]
    assert texts["vanilla"] == texts["peephole"]
    assert len(set(texts.values())) == 18


# ---- derivatives of derivatives


@pytest.mark.parametrize(
    ("name", "backend"),
    [("vanilla", "fused"), ("vanilla", "native"), ("slstm", "native"), ("minlstm", "associative")],
)
def test_second_derivatives_equal_those_of_scan(name, backend):
    spec, params, x, _ = random_layer(name, T=4, B=2, D=2, H=3)
    leaves, tree = jax.tree.flatten(params)
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]
    point = jnp.concatenate([leaf.reshape(-1) for leaf in leaves])
    direction = jax.random.normal(jax.random.key(3), point.shape)

    def loss(backend, point):
        parts = [
            part.reshape(leaf.shape)
            for part, leaf in zip(jnp.split(point, cuts), leaves, strict=True)
        ]
        run = partial(unroll, spec, jax.tree.unflatten(tree, parts), x, backend=backend)
        return jnp.square(run(lengths=jnp.array([3, 4])).h).sum()

    def derivatives(backend):
        gradient = jax.grad(partial(loss, backend))
        return {
            "hessian": jax.hessian(partial(loss, backend))(point),
            "jvp of grad": jax.jvp(gradient, (point,), (direction,))[1],
            "grad of grad": jax.grad(lambda p: jnp.vdot(gradient(p), direction))(point),
        }

    expected = derivatives("scan")
    assert np.abs(expected["hessian"]).max() > 0.1
    assert_near(derivatives(backend), expected, 1e-4)
