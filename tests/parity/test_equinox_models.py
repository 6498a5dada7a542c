"""Exports to Equinox: its modules give the same numbers, also in a process without lstm_lab."""

import equinox as eqx
import jax
import numpy as np
import pytest

from lstm_lab.interop.equinox_models import form, to_equinox
from lstm_lab.interop.export import export_run
from lstm_lab.interop.portable import portable_model
from tests.helpers.frameworks import (
    LENGTHS,
    MODELS,
    PLAIN,
    VARIANTS,
    assert_equal_outputs,
    in_another_process,
    inputs_of,
    reference,
    run_of,
    states_of,
)


def states_for(run, states):
    """Returns states as the cells of Equinox take them: h alone for a GRU, else a tuple."""

    def one(state):
        return state.h if run.spec.model.cell == "gru" else tuple(a for a in state if a is not None)

    return jax.tree.map(one, states, is_leaf=lambda s: hasattr(s, "h"))


@pytest.mark.parametrize("cell", VARIANTS)
def test_a_cell_equals_that_of_equinox_or_its_equations(cell):
    run = run_of(cell, layers=2)
    is_plain = cell in PLAIN and cell != "rnn"
    assert form(portable_model(run).spec) == ("layer" if is_plain else "equations")
    x, states = inputs_of(run), states_of(run)
    logits, finals = jax.jit(jax.vmap(to_equinox(run)))(x, LENGTHS, states_for(run, states))
    expected, expected_finals = reference(run, x, LENGTHS, states)
    assert_equal_outputs(logits, expected)
    jax.tree.map(assert_equal_outputs, finals, states_for(run, expected_finals))


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_equal_ours(name):
    task, settings = MODELS[name]
    run = run_of("gru", task, **settings)
    x, model = inputs_of(run), to_equinox(run)
    for lengths in (LENGTHS, None):
        logits, _ = jax.vmap(model)(x, lengths)
        assert_equal_outputs(logits, reference(run, x, lengths)[0], str(lengths))


def test_chunks_give_the_same_as_the_whole_sequence():
    run = run_of("peephole", MODELS["residual"][0], layers=2)
    x, model = inputs_of(run)[0], to_equinox(run)
    states, pieces = None, []
    for chunk in (x[:1], x[1:3], x[3:]):
        logits, states = model(chunk, None, states)
        pieces.append(logits)
    assert_equal_outputs(np.concatenate(pieces), reference(run, x[None])[0][0])


def test_the_module_is_a_pytree_whose_cells_are_those_of_equinox():
    model = to_equinox(run_of("chrono"))
    (cell,) = model.cells[0]
    assert type(cell) is eqx.nn.LSTMCell
    grads = eqx.filter_grad(lambda model: model(np.ones((4, 2), np.float32))[0].sum())(model)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("cell", ["gru", "peephole"])
def test_an_export_runs_without_lstm_lab(cell, tmp_path):
    run = run_of(cell, layers=2, bidirectional=True)
    export_run(run, "equinox", tmp_path / "out")
    program = """
        import jax
        from model import load
        logits, states = jax.vmap(load())(x, lengths)
    """
    logits = in_another_process(program, tmp_path / "out", x=inputs_of(run), lengths=LENGTHS)
    assert_equal_outputs(logits, reference(run, inputs_of(run), LENGTHS)[0])
