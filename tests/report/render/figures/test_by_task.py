"""The map of scores by task: shades are within tasks, whose scores do not compare."""

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.render.figures.by_task import scores_by_task
from lstm_lab.report.runs import read_study
from tests.helpers.report import crossing_study


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_best_of_each_task_is_the_darkest(tmp_path, direction):
    scores = {  # an easy task, a hard one, one where both are equal, one that only x has
        "x": [[0.99], [0.2], [0.5], [0.7]],
        "y": [[0.91], [0.4], [0.5], []],
        "z": [[0.95], [0.3], [], []],
    }
    folder = crossing_study(tmp_path, scores, direction)
    drawn = scores_by_task(compare(read_study(folder)))
    (image,) = drawn.figure.axes[0].images
    high = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    expected = high if direction == "max" else 1 - high
    assert image.get_array().filled(np.nan) == pytest.approx(
        np.array([*expected, [1, 1, np.nan], [1, np.nan, np.nan]]), nan_ok=True
    )
    assert drawn.alt == "Mean test mse by task and variant; darker is better within a row."


def test_errors_of_a_task_that_span_decades_have_a_logarithmic_scale(tmp_path):
    scores = {"x": [[0.01], [0.8]], "y": [[0.1], [0.9]], "z": [[1.0], [1.0]]}
    folder = crossing_study(tmp_path, scores, "min")
    (image,) = scores_by_task(compare(read_study(folder))).figure.axes[0].images
    assert image.get_array().filled(np.nan) == pytest.approx(np.array([[1, 0.5, 0], [1, 0.5, 0]]))
