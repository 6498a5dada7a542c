"""Single cells in Python: parameters, steps, sequences and checks."""

import inspect

import jax
import numpy as np
import pytest

import lstm_lab as ll
from lstm_lab.cells import get_variant
from lstm_lab.recurrence import unroll
from lstm_lab.utils.errors import UserError


@pytest.mark.parametrize("name", ["peephole", "gru"])
def test_a_bound_cell_computes_what_its_functions_compute(name):
    cell = ll.cell(name)
    spec = get_variant(name).spec
    params = cell.init(jax.random.key(0), 8, 16)
    x_TBD = jax.random.normal(jax.random.key(1), (5, 3, 8))
    expected = unroll(spec, params, x_TBD)
    for given in (name, spec, cell):
        np.testing.assert_array_equal(ll.unroll(given, params, x_TBD).h, expected.h)
    state = None
    for x_BD in x_TBD:
        state, gates = cell.step(params, x_BD, state)
    np.testing.assert_allclose(state.h, expected.h[-1], atol=1e-6)
    assert all(gate.shape == (3, 16) for gate in gates.values())


def test_unroll_names_every_argument_of_the_core():
    """Completion and type checkers know only what the signature names."""
    core = list(inspect.signature(unroll).parameters.values())[1:]
    assert list(inspect.signature(ll.unroll).parameters.values())[1:] == core
    assert all(parameter.name in ll.unroll.__doc__ for parameter in core)


def test_arguments_reach_the_core():
    cell = ll.cell("lstm")
    params = cell.init(jax.random.key(0), 3, 4)
    x_TBD = jax.random.normal(jax.random.key(1), (5, 2, 3))
    state, _ = cell.step(params, x_TBD[0])
    keywords = {
        "lengths": np.array([5, 2]),
        "resets": np.eye(5, 2, dtype=bool),
        "reverse": True,
        "trace": ("c",),
        "clamp": {"o": 0.5},
        "backend": "scan",
        "precision": "highest",
    }
    expected = unroll(cell.spec, params, x_TBD, state, **keywords)
    for result in (
        ll.unroll("lstm", params, x_TBD, state, **keywords),
        cell.unroll(params, x_TBD, state=state, **keywords),
    ):
        jax.tree.map(np.testing.assert_array_equal, result, expected)


@pytest.mark.parametrize("name", ["lstm", "minlstm"])
def test_inputs_of_another_width_are_named(name):
    cell = ll.cell(name)
    params = cell.init(jax.random.key(0), 3, 4)
    message = "x: got 2 features, expected 3, for which the parameters were drawn"
    with pytest.raises(ValueError, match=message):
        ll.unroll(name, params, np.ones((5, 2, 2), np.float32))
    with pytest.raises(ValueError, match=message):
        cell.step(params, np.ones((2, 2), np.float32))


def test_the_flax_module_takes_the_spec():
    module = ll.LSTM(ll.cell("lstm").spec, hidden_sizes=(4,))
    x_TBD = jax.random.normal(jax.random.key(1), (5, 3, 8))
    h_TBH, _ = module.apply(module.init(jax.random.key(0), x_TBD), x_TBD)
    assert h_TBH.shape == (5, 3, 4)


def test_an_unknown_cell_gets_the_nearest_name():
    with pytest.raises(UserError, match="got 'peepole'; did you mean 'peephole'"):
        ll.cell("peepole")


def test_a_check_is_a_table():
    table = ll.check("lstm")
    assert set(table["result"]) == {"ok"}


def test_a_cell_without_features_or_units_is_refused():
    with pytest.raises(ValueError, match="hidden: got -4, expected 1 or more"):
        ll.cell("gru").init(jax.random.key(0), 3, -4)
    with pytest.raises(ValueError, match="features: got 0, expected 1 or more"):
        ll.cell("gru").init(jax.random.key(0), 0, 4)
