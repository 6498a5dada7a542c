"""One step of a stream: the model, and the step of lstm_lab."""

import numpy as np
import pytest

from lstm_lab.bench.cases import Case
from lstm_lab.bench.streaming import stream, trained_model
from lstm_lab.bench.workloads import build, serves
from lstm_lab.models.build import build_model

STEP = {"work": "step", "B": 1, "T": 1, "D": 3, "H": 4, "vocabulary": 7}


@pytest.mark.parametrize(
    ("name", "changes", "served"),
    [
        ("lstm_lab", {}, True),
        ("onnxruntime", {"cell": "slstm"}, True),
        ("lstm_lab scan", {}, False),
        ("torch", {}, False),
        ("floor", {}, False),
        ("lstm_lab", {"T": 2}, False),
        ("onnxruntime", {"B": 2}, False),
        ("lstm_lab", {"bidirectional": True}, False),
        ("onnxruntime", {"work": "gradient"}, False),
    ],
)
def test_a_step_has_one_row_and_the_two_contenders_that_compute_it(name, changes, served):
    assert serves(name, Case(**{**STEP, **changes})) == served


def test_steps_continue_where_the_last_one_ended():
    trained = trained_model(Case(**STEP, cell="slstm"))
    tokens = np.array([[1, 5, 2, 6]])
    step = stream("lstm_lab", trained)
    logits = np.concatenate([step(tokens[:, t : t + 1]) for t in range(4)], axis=1)
    whole = build_model(trained.spec).apply({"params": trained.params}, tokens)
    np.testing.assert_allclose(logits, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_what_is_timed_is_one_step():
    build("lstm_lab", Case(**STEP))()
