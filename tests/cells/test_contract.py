"""A cell with wrong arguments or results is reported in words, before anything compiles."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from lstm_lab.cells import CATALOGUE, GATED_LSTM, CellSpec, State, contract_problem
from lstm_lab.config.load import load_spec
from lstm_lab.recurrence.check import check_cell
from lstm_lab.utils.errors import UserError


def state_and_gates(spec, params, zx, zh, state, noise=None):
    return GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)


def no_noise(spec, params, zx, zh, state):
    return state_and_gates(spec, params, zx, zh, state)


def a_pair(spec, params, zx, zh, state, noise=None):
    new, _ = state_and_gates(spec, params, zx, zh, state)
    return new.h, new.c


def no_gates(spec, params, zx, zh, state, noise=None):
    return state_and_gates(spec, params, zx, zh, state)[0]


def a_wider_state(spec, params, zx, zh, state, noise=None):
    new, gates = state_and_gates(spec, params, zx, zh, state)
    return new._replace(c=jnp.concatenate([new.c, new.c], -1)), gates


def a_lost_state(spec, params, zx, zh, state, noise=None):
    new, gates = state_and_gates(spec, params, zx, zh, state)
    return State(new.h), gates


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_variant_keeps_the_contract(name):
    assert contract_problem(CATALOGUE[name].spec, 3, 4) is None


@pytest.mark.parametrize(
    ("pointwise", "problem"),
    [
        (state_and_gates, None),
        (no_noise, "takes 5 positional arguments but 6 were given; each function takes"),
        (a_pair, "pointwise returns (float32[2,4], float32[2,4]), expected (State(h, c), gates"),
        (no_gates, "pointwise returns a State, expected (State(h, c), gates by name)"),
        (a_wider_state, "c=float32[2,8], and before it float32[2,4] (with B=2, H=4)"),
        (a_lost_state, "c=None, and before it float32[2,4]"),
    ],
)
def test_a_wrong_step_is_described(pointwise, problem):
    spec = CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise))
    found = contract_problem(spec, 3, 4)
    assert found is None if problem is None else problem in found
    checks = list(check_cell(spec)) if problem else []
    assert checks == ([("one step runs", contract_problem(spec, 3, 6))] if problem else [])


def test_a_config_with_a_wrong_cell_is_one_line_with_the_place(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(
        "from dataclasses import replace\n"
        "import jax.numpy as jnp\n"
        "from lstm_lab.cells import GATED_LSTM, CellSpec, State\n\n\n"
        "def pointwise(spec, params, zx, zh, state, noise=None):\n"
        "    zi, zf, zo, zg = jnp.split(zx + zh, 4, axis=-1)\n"
        "    return State(zi * zg, zf * state.c), {}\n\n\n"
        "cell = CellSpec(gates='f', cell=replace(GATED_LSTM, pointwise=pointwise))\n"
    )
    with pytest.raises(UserError, match=r"model.cell: .*wrong.py line 8: TypeError: .*H=64"):
        load_spec("adding", {"model.cell": f"{path}:cell"})
