"""A model's outputs for all examples of a split, on the host.

Some test metrics, such as the AUC, need all outputs at once and are no sum over batches.
`finish.py` computes them once per run; `inference/` uses the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import jax
import numpy as np

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import build_model
from lstm_lab.models.translation import translate_tokens
from lstm_lab.tasks import Stored, rows_that_fit
from lstm_lab.utils.types import JSON, PyTree

ROWS = 256  # sequences of one compiled call, at most


def outputs(spec: RunSpec, params: PyTree, examples: Stored) -> np.ndarray:
    """Computes a model's logits or values [N,...] without noise.

    Args:
      spec: the run.
      params: its parameters at its own size.
      examples: inputs and lengths; targets are not read.
    """
    apply, N = _compiled(program_spec(spec)), examples.rows
    most = min(rows_that_fit(examples.steps, ROWS), N)
    batches = []
    for start in range(0, N, most):
        # The last call repeats the last example, so that all calls have one shape.
        batch = examples.take(np.minimum(np.arange(start, start + most), N - 1))
        batches.append(np.asarray(apply(params, batch.x, batch.lengths)))
    return np.concatenate(batches)[:N]


def final_metrics(
    spec: RunSpec, params: PyTree, test: Stored, preprocessing: Mapping[str, JSON]
) -> dict[str, float]:
    """Returns the metrics that a task computes from the outputs of the whole test split.

    Args:
      spec: the run.
      params: its parameters at its own size.
      test: the test split.
      preprocessing: what the task computed from its training data.
    """
    # Checked first: computing the outputs of a large split takes seconds.
    if not spec.task.final_metric_names:
        return {}
    if spec.task.source_vocabulary is not None:
        source = test.take(np.arange(test.rows)).source
        assert source is not None
        answers = translate_tokens(spec, params, source)
    else:
        answers = outputs(spec, params, test)
    return spec.task.final_metrics(answers, test, preprocessing)


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec) -> Callable[..., jax.Array]:
    model = build_model(spec)

    def apply(params: PyTree, x: jax.Array, lengths: jax.Array | None) -> jax.Array:
        with jax.default_matmul_precision(spec.model.precision):
            logits = model.apply({"params": params}, x, lengths)
        assert isinstance(logits, jax.Array)
        return logits

    return jax.jit(apply)
