"""The picture of single cells over a text."""

import numpy as np

from experiments import cells_over_text as cells
from lstm_lab.inference.load import load_run
from tests.helpers.training import reading, train


def test_what_a_reader_sees():
    seen = cells.followed("A:\nto be\n")
    np.testing.assert_array_equal(seen["how far into the line"], [0, 1, 2, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(seen["how far into the word"], [0, 1, 0, 0, 1, 2, 0, 1, 2])
    named = seen["whether the line names a speaker"]
    np.testing.assert_array_equal(named, [1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_the_cell_that_follows_is_found_and_drawn(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(cells.TEXT * 5)
    spec = reading(text, model={"layers": 2}, train={"steps": 10})
    train([spec], tmp_path)
    trained = load_run(tmp_path / "0")
    values_TH = cells.activations(trained, cells.TEXT)
    assert values_TH.shape == (len(cells.TEXT), 6)
    # The last layer's state depends on nothing that comes later.
    again = cells.activations(trained, cells.TEXT[:50])
    np.testing.assert_allclose(again, values_TH[:50], atol=1e-5)
    seen = cells.followed(cells.TEXT)
    planted = values_TH.copy()
    planted[:, 3] = -seen["how far into the word"]
    chosen = cells.choose(planted, seen)
    name, cell, r = chosen[1]
    assert (name, cell) == ("how far into the word", 3)
    assert r < -0.999
    figure = cells.draw(cells.TEXT, np.clip(planted, -1, 1), chosen)
    figure.savefig(tmp_path / "cells.png")
    assert (tmp_path / "cells.png").stat().st_size > 10_000
