"""The source of a step: what stands in the exported files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CellSpec, MinLSTMSpec
from lstm_lab.cells.cell import State, step
from lstm_lab.cells.expressions import Equation, Value
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.portable import PortableLayer, portable_model
from lstm_lab.interop.python_step import JAX, KERAS, assignment, step_source
from lstm_lab.interop.standalone.export_text import cell_text, module_of
from lstm_lab.interop.trained_equations import equation_weights
from tests.helpers.frameworks import VARIANTS, run_of


def layer_of(cell):
    return portable_model(run_of(cell)).layers[0][0]


def test_a_step_reads_like_the_equations():
    assert step_source(layer_of("mgu"), JAX) == (
        "def step(w, x, state):\n"
        '    """Computes one time step of the cell mgu."""\n'
        "    (old_h,) = state\n"
        '    f = jax.nn.sigmoid(x @ w["W_f"] + old_h @ w["U_f"] + w["b_f"])\n'
        '    n = jnp.tanh(x @ w["W_n"] + (f * old_h) @ w["U_n"] + w["b_n"])\n'
        "    h = (1.0 - f) * old_h + f * n\n"
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
    drawn = spec.cell.init(spec, jax.random.key(0), 3, 4)
    params = {name: numbers.normal(size=a.shape).astype(np.float32) for name, a in drawn.items()}
    x = numbers.normal(size=(2, 3)).astype(np.float32)
    zero = spec.cell.initial(spec, params, spec.cell.project(spec, params, x), jnp.float32)
    fields = {name: a for name, a in zero._asdict().items() if a is not None}
    sizes = {name: a.shape[-1] for name, a in fields.items()}
    layer = PortableLayer(
        "layer_0", spec, params, {"zoneout_c": 0.0, "zoneout_h": 0.0}, False, sizes
    )
    old = {name: numbers.normal(size=a.shape).astype(np.float32) for name, a in fields.items()}
    module = module_of(cell_text("flax_cell.py", step_source(layer, JAX)))
    with jax.numpy_rank_promotion("allow"):
        outputs = module.step(equation_weights(layer), x, tuple(old.values()))
    new, _ = step(spec, params, x, State(**old))
    for name, output in zip(fields, outputs, strict=True):
        np.testing.assert_allclose(output, getattr(new, name), rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "text", ["a - (b - c)", "a / (b * c)", "(a - b) * c", "a - b - c", "a * b + c"]
)
def test_parentheses_keep_the_order_of_operations(text):
    names = {name: Value(name) for name in "abc"}
    equation = Equation(Value("h"), eval(text, names))
    assert assignment(equation, JAX) == [f"h = {text}"]


def test_rates_of_zoneout_are_numbers():
    assert default_rates(layer_of("zoneout").spec) == {"zoneout_c": 0.5, "zoneout_h": 0.05}
    assert "h = 0.05 * old_h + 0.95 * h_tilde" in step_source(layer_of("zoneout"), JAX)
