"""Learning curves: which steps they show, and which variants the legend leaves out."""

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.figures.curves import learning_curves
from lstm_lab.report.runs import read_study
from tests.helpers.report import write_curves


def test_curves_are_averaged_over_the_steps_that_all_runs_have(tmp_path):
    curves = {
        "a": [[(100, 0.1), (200, 0.2), (300, 0.3)], [(200, 0.4), (300, 0.5), (400, 0.6)]],
        "apart": [[(100, 0.1)], [(150, 0.2)]],
    }
    (axes,) = learning_curves(compare(read_study(write_curves(tmp_path, curves)))).figure.axes
    (line,) = axes.get_lines()
    assert line.get_label() == "a"
    assert line.get_xydata() == pytest.approx(np.array([[200, 0.3], [300, 0.4]]))


def test_without_a_common_step_there_are_no_curves(tmp_path):
    curves = {"a": [[(100, 0.1)], [(150, 0.2)]]}
    assert learning_curves(compare(read_study(write_curves(tmp_path, curves)))) is None
