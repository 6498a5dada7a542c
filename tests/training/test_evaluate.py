"""Evaluations of long sequences: batches of few rows, the same metrics."""

import jax
import numpy as np

from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import batches
from lstm_lab.training.device_axis import ONE_DEVICE
from lstm_lab.training.evaluate import evaluate_split
from lstm_lab.training.outputs import outputs
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.training import small_spec


def test_a_bound_on_the_rows_bounds_memory_and_keeps_metrics_and_outputs(tmp_path, monkeypatch):
    # Plain scan: the memory of a custom kernel is not visible to the compiler.
    spec = small_spec(
        task={"name": "adding", "length": 300, "valid_size": 48, "test_size": 1},
        compute={"backend": "scan"},
    )
    valid = spec.task.load(tmp_path).splits["valid"]
    params = TrainStep(spec, 1).init(member_of(spec, 1)).params

    def measured():
        def metrics(params):
            return evaluate_split(spec, params, Regularization({}), valid, (), ONE_DEVICE)

        compiled = jax.jit(metrics).lower(params).compile()
        bytes_needed = compiled.memory_analysis().temp_size_in_bytes
        return bytes_needed, compiled(params), outputs(spec, params, valid)

    whole = measured()
    monkeypatch.setattr(batches, "STEPS_AT_ONCE", 8 * 300)
    few = measured()
    assert few[0] < whole[0] / 3
    np.testing.assert_allclose(few[1]["mse"], whole[1]["mse"], rtol=1e-6)
    np.testing.assert_allclose(few[2], whole[2], rtol=1e-5, atol=1e-7)
