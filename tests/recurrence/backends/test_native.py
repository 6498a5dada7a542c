"""The compiled kernel: blocks, parts and chunks compared with scan, its build, its memory."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import GRUSpec, MGUSpec, MinLSTMSpec, SLSTMSpec
from lstm_lab.recurrence import unroll
from lstm_lab.recurrence.backends import kernel_library, native
from lstm_lab.recurrence.backends.codegen.emit import Key
from tests.helpers.paths import ROOT
from tests.helpers.recurrence import B, D, H, T, assert_near, loss_and_gradients, random_layer


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("np", {"T": 40, "B": 37, "D": 19, "H": 33}),
        ("vanilla", {"T": 21, "B": 8, "D": 70, "H": 80}),
        ("fgr", {"T": 19, "B": 17, "D": 5, "H": 21}),
        ("janet", {"T": 33, "B": 1, "D": 1, "H": 48}),
        ("fgr", {"T": 19, "B": 1, "D": 5, "H": 21}),
        ("gru", {"T": 19, "B": 1, "D": 5, "H": 37}),
        ("gru", {"T": 40, "B": 37, "D": 19, "H": 33}),
        # So wide that threads share the units of a step, where there are more threads than rows.
        ("vanilla", {"T": 9, "B": 5, "D": 40, "H": 170}),
        ("fgr", {"T": 4, "B": 1, "D": 150, "H": 136}),
    ],
)
def test_the_kernel_equals_scan_over_blocks_parts_and_chunks(name, shape, reverse):
    outputs = loss_and_gradients(name, "native", reverse=reverse, **shape)
    assert_near(outputs, loss_and_gradients(name, "scan", reverse=reverse, **shape), 1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        MGUSpec(),
        GRUSpec(reset="before"),
        MinLSTMSpec(candidate="positive"),
        SLSTMSpec(heads=4, forget="exponential"),
    ],
)
def test_the_kernel_equals_scan_for_options_of_cells(spec):
    shape = {"T": 19, "B": 9, "D": 7, "H": 36}
    outputs = loss_and_gradients(spec, "native", **shape)
    assert_near(outputs, loss_and_gradients(spec, "scan", **shape), 1e-5)


@pytest.mark.parametrize("lengths", [[3, 0, 7], [0, 0, 0]])
@pytest.mark.parametrize("name", ["vanilla", "gru"])
def test_steps_after_the_longest_row_are_zero_and_change_nothing(name, lengths):
    """The kernel ends at the longest row; memory that it does not write may hold anything."""
    spec, params, x, state = random_layer(name, T=40, B=3)

    def gradients(backend):
        def loss(params, x, state):
            h, final, _ = unroll(
                spec, params, x, state, lengths=jnp.array(lengths), backend=backend
            )
            return jnp.square(h).sum() + jnp.square(final.h).sum(), h

        return jax.grad(loss, (0, 1, 2), has_aux=True)(params, x, state)

    assert_near(gradients("native"), gradients("scan"), 1e-5)
    assert not gradients("native")[1][max(lengths) :].any()


def test_the_gradient_of_x_is_computed_only_on_request():
    spec, params, x, _ = random_layer("np")

    def loss(params, x):
        return unroll(spec, params, x, backend="native")[0].sum()

    with_dx = jax.jit(jax.grad(loss, (0, 1))).lower(params, x).as_text()
    without_dx = jax.jit(jax.grad(loss)).lower(params, x).as_text()
    assert f"-> (tensor<{T}x{B}x{D}xf32>, tensor<{D}x{4 * H}xf32>" in with_dx
    assert f"-> (tensor<0x{B}x{D}xf32>, tensor<{D}x{4 * H}xf32>" in without_dx


@pytest.mark.optimized
@pytest.mark.parametrize("sizes", [{"B": 40, "H": 24}, {"B": 1, "H": 160}])
def test_bits_do_not_depend_on_threads_or_other_members(sizes):
    """The batch's parts depend on the shape alone, so threads and neighbors change nothing.

    Threads share the units of a lone layer of one row, over two chunks of time; of four layers at
    the same time they do not.
    """
    spec, params, x, _ = random_layer("np", T=300, D=40, **sizes)

    def gradients(params):
        return jax.grad(lambda p: jnp.square(unroll(spec, p, x, backend="native")[0]).sum())(params)

    compiled = jax.jit(gradients)
    alone = compiled(params)
    for _ in range(20):  # threads meet in another order each time
        jax.tree.map(np.testing.assert_array_equal, compiled(params), alone)
    four = jax.tree.map(lambda a: jnp.stack([a] * 4), params)
    together = jax.pmap(gradients)(four)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[3]), alone, together)
    mapped = jax.jit(lambda p: jax.lax.map(gradients, p))(four)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[1]), alone, mapped)
    batched = jax.jit(jax.vmap(gradients))(four)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[2]), alone, batched)


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": jnp.zeros((T, B, D), jnp.float16)},
        {"h": jnp.zeros((B, H), jnp.float16)},
        {"c": jnp.zeros((B + 1, H))},
    ],
)
def test_the_kernel_refuses_arrays_that_it_would_misread(wrong):
    """The last defense: `unroll` refuses them, too."""
    spec, params, x, state = random_layer("np")
    unroll(spec, params, x, state, backend="native")  # loads the kernel
    arrays = native.Arguments(
        params, wrong.pop("x", x), state._replace(**wrong), None, None, None, None
    )
    static = native.NativeStatic(Key(spec), False, (), None)
    with pytest.raises(
        jax.errors.JaxRuntimeError, match="native: an input has another dtype or size"
    ):
        jax.block_until_ready(native._layer(static, arrays))


def test_the_kernel_computes_gradients_if_float64_is_on(x64):
    """Arrays that a backend makes itself would be float64 without a dtype."""
    spec, params, x, state = jax.tree.map(
        lambda a: a.astype(jnp.float32) if isinstance(a, jax.Array) else a, random_layer("vanilla")
    )

    def gradients(backend):
        def loss(params, x, state):  # reads h alone: the final state has no cotangent
            return jnp.square(unroll(spec, params, x, state, backend=backend).h).sum()

        return jax.grad(loss, (0, 1, 2))(params, x, state)

    assert_near(gradients("native"), gradients("scan"), 1e-5)


def test_the_kernel_accesses_no_memory_out_of_bounds(tmp_path):
    compiler = kernel_library.compiler()[0]
    wrapper = tmp_path / "checked-cxx"
    flags = "-O0 -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover"
    for_macros = f'case "$*" in *-dM*) exec {compiler} "$@";; esac'
    wrapper.write_text(f'#!/bin/sh\n{for_macros}\nexec {compiler} "$@" {flags}\n')
    wrapper.chmod(0o755)
    # The sanitizer has to be loaded before Python's own libraries, and needs the one of C++.
    libraries = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    environment = {
        **os.environ,
        "CXX": str(wrapper),
        "XDG_CACHE_HOME": str(tmp_path),
        "LD_PRELOAD": " ".join(library.stdout.strip() for library in libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT),
    }
    program = [sys.executable, "-m", "tests.recurrence.backends.kernel_memory"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "no access outside", done.stderr[:2000]
