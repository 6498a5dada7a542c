"""The figure that shows single cells over a text: its features, selection and drawing."""

import numpy as np

from experiments import cells_over_text as cells
from lstm_lab.inference.load import load_run
from tests.helpers.training import language_spec, train


def test_text_features_locate_each_character():
    features = cells.text_features("A:\nto be\n")
    np.testing.assert_array_equal(features["position in the line"], [0, 1, 2, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(features["position in the word"], [0, 1, 0, 0, 1, 2, 0, 1, 2])
    names_speaker = features["line names a speaker"]
    np.testing.assert_array_equal(names_speaker, [1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_the_most_correlated_cell_is_selected_and_drawn(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(cells.TEXT * 5)
    spec = language_spec(text, model={"layers": 2}, train={"steps": 10})
    train([spec], tmp_path)
    trained = load_run(tmp_path / "0")
    values_TH = cells.activations(trained, cells.TEXT)
    assert values_TH.shape == (len(cells.TEXT), 6)
    # States depend only on earlier characters, so a shorter text gives the same states.
    again = cells.activations(trained, cells.TEXT[:50])
    np.testing.assert_allclose(again, values_TH[:50], atol=1e-5)
    features = cells.text_features(cells.TEXT)
    planted = values_TH.copy()
    planted[:, 3] = -features["position in the word"]
    chosen = cells.most_correlated(planted, features)
    name, cell, r = chosen[1]
    assert (name, cell) == ("position in the word", 3)
    assert r < -0.999
    figure = cells.draw(cells.TEXT, np.clip(planted, -1, 1), chosen)
    figure.savefig(tmp_path / "cells.png")
    assert (tmp_path / "cells.png").stat().st_size > 10_000
