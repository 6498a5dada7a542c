"""Single cells in Python: parameters, steps, sequences and checks."""

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
