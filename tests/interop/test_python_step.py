"""The source of a step: what stands in the exported files."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from lstm_lab.cells import CellSpec, MinLSTMSpec
from lstm_lab.cells.cell import State, step
from lstm_lab.cells.expressions import Call, Maximum, Old, Value, Weight
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.fused_step import Assignment, step_weights
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.python_step import JAX, KERAS, TORCH, module_biases, step_source
from lstm_lab.interop.standalone.export_text import cell_text, module_of
from tests.helpers.frameworks import VARIANTS, run_of
from tests.helpers.layers import layer_of_spec


def layer_of(cell):
    return portable_model(run_of(cell)).layers[0][0]


def test_a_step_reads_like_the_equations():
    assert step_source(layer_of("mgu"), JAX) == (
        "def step(w, x, state):\n"
        '    """Computes one time step of the cell mgu."""\n'
        "    (h_old,) = state\n"
        '    x_f, x_n = jnp.split(x @ w["W"] + w["b"], 2, axis=-1)\n'
        '    f = jax.nn.sigmoid(x_f + h_old @ w["U_f"])\n'
        '    n = jnp.tanh(x_n + (f * h_old) @ w["U_n"])\n'
        "    h = (1 - f) * h_old + f * n\n"
        "    return (h,)\n"
    )


@pytest.mark.parametrize("cell", VARIANTS)
def test_lines_are_short_and_every_function_has_a_module(cell):
    for functions, module in ((JAX, ("jnp.", "jax.nn.")), (KERAS, ("ops.",))):
        source = step_source(layer_of(cell), functions)
        assert max(map(len, source.splitlines())) <= 100
        bare = source
        for name in ("normalize", *(f"{m}{f}" for m in module for f in ("tanh", "sigmoid"))):
            bare = bare.replace(f"{name}(", "")
        assert " tanh(" not in bare
        assert " sigmoid(" not in bare
        compile(source, "cell.py", "exec")


@pytest.mark.parametrize(
    "spec",
    [
        CellSpec(layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True),
        CellSpec(layer_norm=True, recurrent_dropout="variational_untied"),
        MinLSTMSpec(candidate="positive"),
    ],
)
def test_rare_combinations_compute_the_step_of_their_cell(spec):
    numbers = np.random.default_rng(0)
    layer = replace(
        layer_of_spec(spec, inputs=3, units=4), rates={"zoneout_c": 0.0, "zoneout_h": 0.0}
    )
    x = numbers.normal(size=(2, 3)).astype(np.float32)
    old = {
        name: numbers.normal(size=(2, size)).astype(np.float32)
        for name, size in layer.state_sizes.items()
    }
    module = module_of(cell_text("flax_cell.py", step_source(layer, JAX)))
    with jax.numpy_rank_promotion("allow"):
        outputs = module.step(step_weights(layer), x, tuple(old.values()))
    new, _ = step(spec, layer.params, x, State(**old))
    for name, output in zip(old, outputs, strict=True):
        np.testing.assert_allclose(output, getattr(new, name), rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "text", ["a - (b - c)", "a / (b * c)", "(a - b) * c", "a - b - c", "a * b + c"]
)
def test_parentheses_keep_the_order_of_operations(text):
    names = {name: Value(name) for name in "abc"}
    for writer in (JAX, TORCH):
        assert writer.line(Assignment(("h",), eval(text, names))) == f"h = {text}"


def test_functions_and_weights_have_the_names_of_the_framework():
    z, weight = Value("z"), Weight("W")
    maximum = Maximum(Value("l"), Value("i~"), Old("n"))
    log_sigmoid = Call("log", Call("sigmoid", z))
    normalized = Weight("gain", "c") * Call("normalize", Value("c")) + Weight("bias", "c")
    affine = Value("x") @ weight + Old("h") @ Weight("U") + Weight("b")
    written = {
        maximum: (
            "jnp.where(n_old == 0, i_tilde, jnp.maximum(log_f, i_tilde))",
            "torch.where(n_old == 0, i_tilde, torch.maximum(log_f, i_tilde))",
        ),
        log_sigmoid: ("jax.nn.log_sigmoid(z)", "nn.functional.logsigmoid(z)"),
        normalized: ('w["gain_c"] * normalize(c) + w["bias_c"]', "self.norm_c(c)"),
        affine: ('x @ w["W"] + h_old @ w["U"] + w["b"]', "self.W(x) + self.U(h_old)"),
        (z * Old("h")) @ weight: ('(z * h_old) @ w["W"]', "self.W(z * h_old)"),
        (z @ weight) * (z @ weight): ('(z @ w["W"]) * (z @ w["W"])', "self.W(z) * self.W(z)"),
        z * (z @ weight + Weight("b")): ('z * (z @ w["W"] + w["b"])', "z * self.W(z)"),
    }
    for expression, codes in written.items():
        assert (JAX.code(expression), TORCH.code(expression)) == codes


def test_a_bias_without_a_matrix_of_inputs_is_a_vector():
    assert module_biases([Value("u"), Value("v"), Weight("b")]) == {}
    assert module_biases([Old("h") @ Weight("U_n"), Weight("b_hn")]) == {}


def test_rates_of_zoneout_are_numbers():
    assert default_rates(layer_of("zoneout").spec) == {"zoneout_c": 0.5, "zoneout_h": 0.05}
    assert "h = 0.05 * h_old + 0.95 * h_tilde" in step_source(layer_of("zoneout"), JAX)
