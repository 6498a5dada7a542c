"""Exports to Flax: its modules give the same numbers, also in a process without lstm_lab."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lstm_lab.cells import CATALOGUE, CellSpec
from lstm_lab.cells.catalogue import Variant
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.interop.export import export_run
from lstm_lab.interop.flax_models import form, to_nnx
from lstm_lab.interop.portable import portable_model
from lstm_lab.models.build import build_model
from lstm_lab.utils.errors import UserError
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


@pytest.fixture(autouse=True)
def flax_promotes_ranks():
    """Allows rank promotion, as JAX does by default; the tests of lstm_lab forbid it."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """Returns a function that exports a run and returns its module and parameters."""

    def load(run):
        folder = export_run(run, "flax", tmp_path / "out")
        for name in ("model", "cell"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(folder)
        import model

        return model.load()

    return load


def carries_of(run, states):
    """Returns states as the carries of Flax' cells: (c, h) for its LSTM, h for GRU and RNN."""
    cell = run.spec.model.cell
    if cell not in PLAIN:
        return jax.tree.map(
            lambda s: tuple(a for a in s if a is not None),
            states,
            is_leaf=lambda s: hasattr(s, "h"),
        )
    return tuple(
        tuple(s.h if cell in ("gru", "rnn") else (s.c, s.h) for s in directions)
        for directions in states
    )


@pytest.mark.parametrize("cell", VARIANTS)
def test_a_cell_equals_that_of_flax_or_its_equations(cell, exported):
    run = run_of(cell, layers=2)
    assert form(portable_model(run).spec) == ("layer" if cell in PLAIN else "equations")
    x, states = inputs_of(run), states_of(run)
    module, params = exported(run)
    apply = jax.jit(lambda *args: module.apply({"params": params}, *args))
    logits, finals = apply(x, LENGTHS, carries_of(run, states))
    expected, expected_finals = reference(run, x, LENGTHS, states)
    assert_equal_outputs(logits, expected)
    jax.tree.map(assert_equal_outputs, finals, carries_of(run, expected_finals))


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_equal_ours(name, exported):
    task, settings = MODELS[name]
    run = run_of("gru", task, **settings)
    x = inputs_of(run)
    module, params = exported(run)
    for lengths in (LENGTHS, None):
        logits, _ = module.apply({"params": params}, x, lengths)
        assert_equal_outputs(logits, reference(run, x, lengths)[0], str(lengths))


def test_chunks_give_the_same_as_the_whole_sequence(exported):
    run = run_of("peephole", MODELS["residual"][0], layers=2)
    x = inputs_of(run)
    module, params = exported(run)
    states, pieces = None, []
    for chunk in (x[:, :1], x[:, 1:3], x[:, 3:]):
        logits, states = module.apply({"params": params}, chunk, None, states)
        pieces.append(logits)
    assert_equal_outputs(np.concatenate(pieces, 1), reference(run, x)[0])


@pytest.mark.parametrize("cell", ["lstm", "slstm"])
def test_an_export_runs_without_lstm_lab(cell, tmp_path):
    run = run_of(cell, layers=2, bidirectional=True)
    export_run(run, "flax", tmp_path / "out")
    program = """
        from model import load
        module, params = load()
        logits, states = module.apply({"params": params}, x, lengths)
    """
    logits = in_another_process(program, tmp_path / "out", x=inputs_of(run), lengths=LENGTHS)
    assert_equal_outputs(logits, reference(run, inputs_of(run), LENGTHS)[0])


def test_an_nnx_module_learns_as_our_module_with_optax():
    run = run_of("peephole")
    x, y = inputs_of(run), np.ones((3, 1), np.float32)
    model, optimizer = to_nnx(run), optax.adam(1e-2)
    state = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
    grads = nnx.grad(lambda model: ((model(x, LENGTHS) - y) ** 2).mean())(model)
    state.update(model, grads)

    def loss(params):
        logits = build_model(run.spec).apply({"params": params}, x, LENGTHS)
        return ((logits - y) ** 2).mean()

    params = jax.tree.map(jnp.asarray, run.params)
    updates, _ = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
    expected = optax.apply_updates(params, updates)
    learned = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    assert jax.tree.structure(learned) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), learned, expected)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), learned, params)
    assert min(jax.tree.leaves(moved)) > 5e-3


@pytest.mark.parametrize("target", ["flax", "equinox"])
def test_a_cell_of_a_user_is_refused_by_name_and_nothing_is_written(target, tmp_path, monkeypatch):
    if target == "equinox":
        pytest.importorskip("equinox")
    cell = replace(GATED_LSTM, emit=lambda spec, params, state: state)
    monkeypatch.setitem(CATALOGUE, "own", Variant(CellSpec(cell=cell), "", ""))
    with pytest.raises(UserError, match="own has functions of its own"):
        export_run(run_of("own"), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_tied_model_is_an_nnx_module_too():
    task, settings = MODELS["tied"]
    run = run_of("minlstm", task, **settings)
    x = inputs_of(run)
    assert_equal_outputs(to_nnx(run)(x), reference(run, x)[0])
