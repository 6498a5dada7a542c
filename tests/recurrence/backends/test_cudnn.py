"""The cudnn backend: the kernel's inputs and outputs, and on a GPU the kernel itself.

Without a GPU, `jax.experimental.rnn.lstm_ref`, JAX's statement of what the kernel computes,
replaces the kernel. Like the kernel, it has no batching rule here.
"""

import json
from functools import partial
from types import SimpleNamespace

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap
from jax.experimental import rnn

from lstm_lab.cells import get_variant
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.regularization import Regularization
from lstm_lab.recurrence import (
    CallSignature,
    DeviceType,
    choose,
    dispatch,
    unroll,
    unsupported_reason,
)
from lstm_lab.recurrence.backends import cudnn
from lstm_lab.training import parallel
from lstm_lab.training.layout import Layout
from tests.helpers.recurrence import LENGTHS, B, T, random_layer
from tests.helpers.training import assert_close, run_steps, small_spec

SPEC = get_variant("lstm").spec
H = 6
GPU = DeviceType("gpu", "NVIDIA H100 80GB HBM3")
ON_GPU = jax.default_backend() == "gpu"


def assert_functions_close(outputs, expected, *arguments):
    """Asserts that two functions give close results for the same arguments."""
    assert_close(jax.jit(outputs)(*arguments), jax.jit(expected)(*arguments))


def forbid_batching(function):
    """Makes `vmap` of the function an error."""
    wrapped = custom_vmap(function)

    @wrapped.def_vmap
    def rule(*_):
        raise NotImplementedError("the kernel has no batching rule")

    return wrapped


@pytest.fixture
def gpu(monkeypatch):
    """Makes JAX report a GPU; returns the list of kernel calls, each as its static arguments."""
    calls = []
    if ON_GPU:
        kernel = rnn.lstm_fwd
        monkeypatch.setattr(rnn, "lstm_fwd", lambda *a: (calls.append(a[5:]), kernel(*a))[1])
        return calls

    def reference(static):
        D, H, layers, dropout, bidirectional, _ = static

        def run(x, h_0, c_0, weights, seq_lengths):
            unpacked = rnn.unpack_lstm_weights(weights, D, H, layers, bidirectional)
            sizes = (D, H, layers, dropout, bidirectional)
            return rnn.lstm_ref(x, h_0, c_0, *unpacked, seq_lengths, *sizes)

        return run

    def forward(*arguments):
        arrays, static = arguments[:5], arguments[5:]
        calls.append(static)
        outputs = forbid_batching(reference(static))(*arrays)
        return outputs, (*arrays, outputs[0], jnp.zeros(64))

    def backward(*arguments):
        static, (arrays, cotangents) = arguments[:6], arguments[6:]
        *floats, lengths, _, _ = arrays

        def pull(lengths, cotangents, *floats):
            run = reference(static)
            return jax.vjp(lambda *floats: run(*floats, lengths), *floats)[1](cotangents)

        gradients = forbid_batching(pull)(lengths, cotangents, *floats)
        return (*gradients, jnp.zeros_like(lengths))

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)
    monkeypatch.setattr(dispatch, "own_device_type", lambda: GPU)
    return calls


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_a_cudnn_layer_equals_scan(gpu, reverse, stateful, lengths):
    spec, params, x, state = random_layer("np")
    weights = jax.random.normal(jax.random.key(3), (T, B, params["wh"].shape[-1]))

    def loss(params, x, state, backend):
        h, final, _ = unroll(
            spec,
            params,
            x,
            state if stateful else None,
            lengths=None if lengths is None else jnp.array(lengths),
            reverse=reverse,
            backend=backend,
        )
        return (weights * h).sum() + final.h.sum() + jnp.square(final.c).sum(), (h, final)

    def run(backend):
        differentiated = jax.value_and_grad(partial(loss, backend=backend), (0, 1, 2), has_aux=True)
        return jax.jit(differentiated)(params, x, state)

    assert_close(run("cudnn"), run("scan"))
    assert [static[-1] for static in gpu] == [cudnn._precision()]


def build_stack(backend, hidden_sizes=(H, H), **options):
    """Returns a stack, and a function of (variables, inputs, states) with outputs and gradients."""
    model = LSTM(SPEC, hidden_sizes, backend=backend, **options)

    def loss(variables, x, states, regularization=None):
        h, finals = model.apply(
            variables, x, states, lengths=jnp.array(LENGTHS), regularization=regularization
        )
        total = jnp.sin(3.0 * h).sum()
        for leaf in jax.tree.leaves(finals):
            total += jnp.cos(leaf).sum()
        return total, (h, finals)

    return model, jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)


def inputs(model, key=0):
    x = jax.random.normal(jax.random.key(key), (T, B, 4))
    variables = jax.jit(model.init)(jax.random.key(key + 1), x)
    _, finals = jax.jit(model.apply)(variables, x)
    return variables, x, jax.tree.map(lambda leaf: leaf + 0.1, finals)


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_whole_stack_is_one_call_and_equals_scan(gpu, bidirectional, stateful):
    reference, expected = build_stack("scan", bidirectional=bidirectional)
    _, outputs = build_stack("cudnn", bidirectional=bidirectional)
    variables, x, states = inputs(reference)
    states = states if stateful else None
    assert_functions_close(outputs, expected, variables, x, states)
    assert gpu == [(4, H, 2, 0.0, bidirectional, cudnn._precision())]


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({"merge": "sum"}, 2),
        ({"residual": True, "bidirectional": False}, 2),
        ({"hidden_sizes": (H, H + 2)}, 2),
        ({"return_sequences": False}, 1),
    ],
)
def test_operations_between_layers_split_a_stack_into_calls(gpu, options, calls):
    options = {"bidirectional": True, **options}
    reference, expected = build_stack("scan", **options)
    _, outputs = build_stack("cudnn", **options)
    variables, x, _ = inputs(reference)
    assert_functions_close(outputs, expected, variables, x, None)
    assert len(gpu) == calls


def test_dropout_between_layers_is_not_done_by_cudnn(gpu):
    reference, expected = build_stack("scan", dropout=0.4, dropout_in=0.2, bidirectional=True)
    _, outputs = build_stack("cudnn", dropout=0.4, dropout_in=0.2, bidirectional=True)
    variables, x, _ = inputs(reference)
    training = Regularization({}, jax.random.key(4), jax.random.split(jax.random.key(5), B))
    assert_functions_close(outputs, expected, variables, x, None, training)
    assert len(gpu) == 2
    assert_functions_close(outputs, expected, variables, x, None)
    assert len(gpu) == 3


def test_the_state_of_a_stream_restarts_at_is_start(gpu):
    reference, _ = build_stack("scan")
    variables, x, states = inputs(reference)
    for is_start in (False, True):
        expected, outputs = (
            build_stack(backend)[0].apply(variables, x, states, is_start=jnp.array(is_start))
            for backend in ("scan", "cudnn")
        )
        assert_close(outputs, expected)


def test_members_under_vmap_call_the_kernel_one_by_one(gpu):
    reference, expected = build_stack("scan")
    _, outputs = build_stack("cudnn")
    members = [inputs(reference, key) for key in (0, 10, 20)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    assert_functions_close(jax.vmap(outputs), jax.vmap(expected), *together)


@pytest.mark.parametrize("members", [1, 2])
def test_training_with_cudnn_equals_scan(gpu, monkeypatch, members):
    """Complete optimizer steps; the members are mapped as on a GPU."""
    monkeypatch.setattr(parallel, "device_type", lambda _: GPU)
    sections = {"layers": 2, "bidirectional": True}
    parallel._build.cache_clear()
    try:
        outputs, expected = (
            run_steps(
                [
                    small_spec(model=sections, compute={"backend": backend}, seed=k)
                    for k in range(members)
                ],
                Layout("single", 1, members),
                small_spec().task.load(None),
                n=3,
            )
            for backend in ("cudnn", "scan")
        )
    finally:
        parallel._build.cache_clear()
    assert_close(outputs, expected)
    assert gpu


def test_padding_is_never_read(gpu):
    reference, _ = build_stack("scan")
    _, outputs = build_stack("cudnn")
    variables, x, _ = inputs(reference)
    real = (jnp.arange(T)[:, None] < LENGTHS[None])[..., None]
    with_nan = outputs(variables, jnp.where(real, x, jnp.nan), None)
    jax.tree.map(np.testing.assert_array_equal, with_nan, outputs(variables, x, None))


def test_the_matmul_precision_is_passed_to_the_kernel(gpu):
    spec, params, x, _ = random_layer("np")
    for named, passed in (("highest", "HIGHEST"), ("high", "HIGH"), ("default", "HIGH")):
        with jax.default_matmul_precision(named):
            unroll(spec, params, x, backend="cudnn")
        assert gpu.pop()[-1].name == passed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("peephole", "peephole: cudnn supports only the plain LSTM"),
        ("cifg", "gates: cudnn supports"),
        ("gru", "cell: cudnn supports"),
        ("zoneout", "zoneout: cudnn supports"),
        ("layernorm", "layer_norm: cudnn supports"),
    ],
)
def test_unsupported_variants_are_named_in_the_error(gpu, name, message):
    assert message in unsupported_reason(
        "cudnn", CallSignature(get_variant(name).spec, jnp.float32)
    )
    x = jnp.zeros((T, B, 4))
    with pytest.raises(ValueError, match="got 'cudnn', which does not support this call; "):
        LSTM(get_variant(name).spec, (H,), backend="cudnn").init(jax.random.key(0), x)


def test_unsupported_features_of_a_call_are_named_in_the_error(gpu):
    spec, params, x, _ = random_layer("np")
    assert "dtype: got bfloat16" in unsupported_reason("cudnn", CallSignature(spec, jnp.bfloat16))
    assert "trace: cudnn" in unsupported_reason(
        "cudnn", CallSignature(spec, jnp.float32, trace=True)
    )
    with pytest.raises(ValueError, match="resets: cudnn does not support them"):
        unroll(spec, params, x, resets=jnp.zeros((T, B), bool), backend="cudnn")
    with pytest.raises(ValueError, match="B: got 0, cudnn expects at least one row"):
        unroll(spec, params, x[:, :0], backend="cudnn")
    with pytest.raises(ValueError, match="got dtype bfloat16, cudnn supports float32"):
        unroll(spec, bfloat16(params), x, backend="cudnn")


def bfloat16(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def test_a_stack_refuses_arrays_that_the_kernel_would_misread(gpu):
    model, _ = build_stack("cudnn")
    variables, x, states = inputs(model)
    gpu.clear()
    for arguments, message in (
        ((bfloat16(variables), x, states), "params.*: got dtype bfloat16, cudnn supports float32"),
        ((variables, x, bfloat16(states)), "state.*: got dtype bfloat16, cudnn supports float32"),
        ((variables, x[:, :3], states), r"state.h: got shape \(4, 6\), expected \(3, 6\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.apply(*arguments)
    assert not gpu


@pytest.mark.skipif(ON_GPU, reason="there is a GPU")
def test_cudnn_without_a_gpu_is_rejected():
    assert (
        unsupported_reason("cudnn", CallSignature(SPEC, jnp.float32))
        == "platform: got cpu, cudnn supports gpu"
    )
    spec, params, x, _ = random_layer("np")
    with pytest.raises(
        ValueError, match="got 'cudnn', which does not support this call; platform: got cpu"
    ):
        unroll(spec, params, x, backend="cudnn")


def test_auto_takes_cudnn_if_its_timing_is_the_fastest(gpu, monkeypatch, tmp_path):
    row = {
        "cell": "plain",
        "members": 1,
        "B": 16,
        "T": 8,
        "D": 8,
        "H": 64,
        "ms": {"scan": 3.0, "fused": 2.0},
    }
    row["ms"]["cudnn"] = 1.0
    table = {"platform": "gpu", "device": "some GPU", "rows": [row]}
    monkeypatch.setattr(dispatch, "TIMINGS", tmp_path / "timings.json")
    dispatch.TIMINGS.write_text(json.dumps({"tables": [table]}))
    dispatch.measured.cache_clear()
    try:
        assert choose(CallSignature(SPEC, jnp.float32)) == "cudnn"
        assert choose(CallSignature(SPEC, jnp.float32, resets=True)) == "fused"
        assert choose(CallSignature(SPEC, jnp.bfloat16)) == "fused"
        reference, _ = build_stack("scan", bidirectional=True)
        variables, x, _ = inputs(reference)
        build_stack("auto", bidirectional=True)[0].apply(variables, x)
        assert len(gpu) == 1
    finally:
        dispatch.measured.cache_clear()


def test_rows_are_flipped_within_their_lengths():
    x = jnp.arange(12.0).reshape(4, 3, 1)
    outputs = cudnn.flipped(x, jnp.array([4, 2, 0]))[..., 0]
    np.testing.assert_array_equal(outputs.T, [[9, 6, 3, 0], [4, 1, 7, 10], [2, 5, 8, 11]])


def equations(jaxpr):
    """Yields every equation of a program with the jaxpr that holds it."""
    for equation in jaxpr.eqns:
        yield jaxpr, equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


def assert_row_major(jaxpr, call):
    """Asserts that arrays go into the kernel and come out of it through a fixed layout only."""
    fixed = [e for e in jaxpr.eqns if e.primitive.name == "layout_constraint"]
    assert set(call.invars) <= {variable for e in fixed for variable in e.outvars}
    arrays = {variable for variable in call.outvars if variable.aval.ndim > 1}
    assert arrays <= {variable for e in fixed for variable in e.invars}
    others = [v for e in jaxpr.eqns if e not in fixed for v in e.invars] + jaxpr.outvars
    assert not any(variable is other for variable in arrays for other in others)


@pytest.mark.parametrize("members", [None, 3])
def test_a_gpu_program_calls_the_kernel_once(monkeypatch, members):
    """The program as JAX traces it for a GPU, with the primitives of `jax.experimental.rnn`."""
    sizes = SimpleNamespace(compute_rnn_workspace_reserve_space_sizes=lambda *_: (0, 64))
    reference, _ = build_stack("scan", bidirectional=True)
    _, run = build_stack("cudnn", bidirectional=True)
    arguments = inputs(reference)
    monkeypatch.setattr(rnn, "gpu_rnn", sizes)
    monkeypatch.setattr(dispatch, "own_device_type", lambda: GPU)
    if members is not None:
        run = jax.vmap(run)
        arguments = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), arguments)
    traced = jax.make_jaxpr(run)(*arguments)
    calls = [pair for pair in equations(traced.jaxpr) if pair[1].primitive.name.startswith("rnn_")]
    assert len(calls) == 2
    for holder, call in calls:
        assert_row_major(holder, call)
    program = str(traced)
    assert program.count("rnn_fwd[") == program.count("rnn_bwd[") == 1
    assert program.count("num_layers=2") == program.count("bidirectional=True") == 2
    assert ("scan[" in program) == (members is not None)
    allowed = cudnn._precision() == jax.lax.Precision.HIGH
    assert program.count(f"cudnn_allow_tf32={allowed}") == 2
    with jax.default_matmul_precision("highest"):
        exact = str(jax.make_jaxpr(run)(*arguments))
    assert exact.count("cudnn_allow_tf32=False") == 2
