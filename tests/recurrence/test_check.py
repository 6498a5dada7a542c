"""`lstm-lab check` reports the errors of a wrong cell and passes correct cells."""

from dataclasses import replace
from importlib import import_module

import jax
import pytest

from lstm_lab.cells import CATALOGUE, GATED_LSTM, CellSpec, get_variant
from lstm_lab.cli import main
from lstm_lab.recurrence.check import check_cell
from lstm_lab.recurrence.unroll import scan


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_variant_of_the_catalogue_passes_the_check(name):
    errors = dict(check_cell(get_variant(name).spec))
    backend = "associative" if name == "minlstm" else "fused"
    assert f"{backend} equals scan in outputs, states and gradients" in errors
    assert len(errors) >= 6
    assert set(errors.values()) == {None}


@jax.custom_jvp
def halved(z):
    return z


@halved.defjvp
def _(primals, tangents):
    return primals[0], 0.5 * tangents[0]


def wrong_gradient(spec, params, zx, zh, state, noise=None):
    return GATED_LSTM.pointwise(spec, params, halved(zx), zh, state, noise)


def reads_other_rows(spec, params, zx, zh, state, noise=None):
    return GATED_LSTM.pointwise(spec, params, zx + zx.mean(0, keepdims=True), zh, state, noise)


def test_a_wrong_gradient_is_reported():
    errors = dict(check_cell(CellSpec(cell=replace(GATED_LSTM, pointwise=wrong_gradient))))
    assert [name for name, error in errors.items() if error] == [
        "gradients match finite differences"
    ]


def test_rows_that_affect_each_other_are_reported():
    errors = dict(check_cell(CellSpec(cell=replace(GATED_LSTM, pointwise=reads_other_rows))))
    assert errors["rows do not affect each other"]


def wrong_backend(part, reverse=False):
    """Returns a backend that is the reference except for one part, if that direction runs."""

    def compute(spec, params, inputs, state, options):
        if options.reverse == reverse:
            params = jax.tree.map(halved, params) if part == "gradient of parameters" else params
            state = jax.tree.map(halved, state) if part == "gradient of state" else state
            if part == "gradient of x":
                inputs = inputs._replace(x_TBD=halved(inputs.x_TBD))
        right = scan(spec, params, inputs, state, options)
        if options.reverse == reverse and part in right._fields:
            return right._replace(**{part: jax.tree.map(lambda a: a + 1e-6, getattr(right, part))})
        return right

    return compute


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "part", ["h", "final", "gradient of parameters", "gradient of x", "gradient of state"]
)
def test_a_wrong_backend_is_reported(monkeypatch, part, reverse):
    module = import_module("lstm_lab.recurrence.unroll")
    monkeypatch.setitem(module._COMPUTE, "fused", wrong_backend(part, reverse))
    errors = dict(check_cell(get_variant("rnn").spec))
    assert [name for name, error in errors.items() if error] == [
        "fused equals scan in outputs, states and gradients"
    ]


def test_check_exits_with_1_if_a_check_fails(tmp_path, capsys):
    assert main(["check", "--cell=np"]) == 0
    assert "FAILED" not in capsys.readouterr().out
    (tmp_path / "cell.py").write_text(
        "from dataclasses import replace\n"
        "from lstm_lab.cells import GATED_LSTM, CellSpec\n"
        "def broken(spec, params, zx, zh, state, noise=None):\n"
        "    raise ValueError('no such gate')\n"
        "cell = CellSpec(cell=replace(GATED_LSTM, pointwise=broken))\n"
    )
    assert main(["check", f"--cell={tmp_path}/cell.py:cell"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "ValueError: no such gate" in out
    assert main(["check"]) == 2
