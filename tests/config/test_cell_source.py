"""Cells of a notebook or a script are written to a file from which any process loads them."""

import subprocess
import sys
from dataclasses import replace

import pytest

from lstm_lab.cells import get_variant
from lstm_lab.config.cell_source import cell_name
from lstm_lab.utils.errors import UserError


def test_names_and_catalogue_specs_stay_names():
    assert cell_name("lstm") == "lstm"
    assert cell_name("my_cell.py") == "my_cell.py:cell"
    assert cell_name("my_cell.py:mine") == "my_cell.py:mine"
    assert cell_name(get_variant("gru").spec) == "gru"
    with pytest.raises(UserError, match="got 3, expected a variant's name"):
        cell_name(3)


# A script stands for a notebook: its objects live in __main__ too.
SCRIPT = """
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid

import lstm_lab as ll
from lstm_lab.cells import GATED_LSTM, CellSpec, State
from lstm_lab.config.cell_source import cell_name

SCALE = 0.5


def squash(x):
    return SCALE * jnp.tanh(x)


def pointwise(spec, params, zx, zh, state, noise=None, *, power=1.0):
    zf, zg = jnp.split(zx + zh, 2, axis=-1)
    f = sigmoid(zf) ** power
    c = f * state.c + (1 - f) * squash(zg)
    return State(jnp.tanh(c), c), {"f": f}


data = CellSpec(gates="io", coupled=True, forget_bias=1.0)
mine = CellSpec(gates="f", forget_bias=1.0, cell=replace(GATED_LSTM, pointwise=pointwise))
powered = replace(mine, cell=replace(GATED_LSTM, pointwise=partial(pointwise, power=2.0)))


if __name__ == "__main__":
    for cell in (data, mine, powered):
        print(cell_name(cell))
"""
LOAD = """
import jax, numpy as np
from script import data, mine, powered
import lstm_lab as ll
x = jax.random.normal(jax.random.key(1), (5, 2, 3))
for name, spec in zip({names!r}, (data, mine, powered)):
    params = ll.cell(spec).init(jax.random.key(0), 3, 4)
    np.testing.assert_array_equal(ll.unroll(name, params, x).h, ll.unroll(spec, params, x).h)
"""


def run(tmp_path, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_written_cell_computes_the_same_in_another_process(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    names = run(tmp_path, "script.py").split()
    assert [name.rpartition(":")[2] for name in names] == ["data", "mine", "powered"]
    assert all(name.startswith("runs/cells/") for name in names)
    run(tmp_path, "-c", LOAD.format(names=names))
    # The same cell has the same file: a second comparison resumes the first.
    assert run(tmp_path, "script.py").split() == names


def test_what_cannot_be_written_is_named():
    spec = get_variant("lstm").spec
    with pytest.raises(UserError, match=r"pointwise is .*<lambda>, expected a function defined"):
        cell_name(replace(spec, cell=replace(spec.cell, pointwise=lambda *a: None)))
