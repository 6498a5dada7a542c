"""A model's outputs for all examples of a split, on the host.

Some test metrics, such as the AUC, and curves need all outputs at once and are no sum over batches.
`finish.py` computes them once per run; `inference/` uses the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np

from lstm_lab.cells.masks import Rates
from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.regularization import Regularization
from lstm_lab.models.translation import translate_tokens
from lstm_lab.tasks import Stored, Task, rows_that_fit
from lstm_lab.utils.curve import Curve, plain_curve
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON, PyTree

ROWS = 256  # sequences of one compiled call, at most


class FinalScores(NamedTuple):
    """What a task computes from the outputs of the whole test split, each by name."""

    metrics: dict[str, float]
    curves: dict[str, Curve]


def outputs(spec: RunSpec, params: PyTree, examples: Stored) -> np.ndarray:
    """Computes a model's logits or values [N,...] without noise.

    Args:
      spec: the run.
      params: its parameters at its own size.
      examples: inputs and lengths; targets are not read.
    """
    apply, rates, N = _compiled(program_spec(spec)), rates_of(spec.model), examples.rows
    most = min(rows_that_fit(examples.steps, ROWS), N)
    found = None
    for start in range(0, N, most):
        # The last call repeats the last example, so that all calls have one shape.
        batch = examples.take(np.minimum(np.arange(start, start + most), N - 1))
        values = np.asarray(apply(params, batch.x, batch.lengths, rates))
        if found is None:
            # Filled and not joined at the end: outputs at every step of a split may take gigabytes.
            found = np.empty((N, *values.shape[1:]), values.dtype)
        found[start : start + most] = values[: N - start]
    assert found is not None, "a split has examples"
    return found


def final_scores(
    spec: RunSpec, params: PyTree, test: Stored, preprocessing: Mapping[str, JSON]
) -> FinalScores:
    """Returns the metrics and curves that a task computes from the outputs of the test split.

    Args:
      spec: the run.
      params: its parameters at its own size.
      test: the test split.
      preprocessing: what the task computed from its training data.
    """
    # Checked first: computing the outputs of a large split takes seconds.
    if not (spec.task.final_metric_directions or spec.task.curve_names):
        return FinalScores({}, {})
    if spec.task.source_vocabulary is not None:
        source = test.take(np.arange(test.rows)).source
        assert source is not None
        answers = translate_tokens(spec, params, source)
    else:
        answers = outputs(spec, params, test)
    curves = spec.task.final_curves(answers, test, preprocessing)
    return FinalScores(
        spec.task.final_metrics(answers, test, preprocessing), _checked_curves(spec.task, curves)
    )


def _checked_curves(task: Task, curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Returns the curves of a task with numbers that a result can hold; raises UserError."""
    # A result with a curve of another form would count as damaged, and the run be trained again.
    if set(curves) != set(task.curve_names):
        raise UserError(
            f"task {task.name}: final_curves: got {sorted(curves)}, expected the names in "
            f"curve_names, {sorted(task.curve_names)}"
        )
    try:
        return {name: plain_curve(curve) for name, curve in curves.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"task {task.name}: final_curves: {error}") from None


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec) -> Callable[..., jax.Array]:
    model = build_model(spec)

    # The rates are an argument, because runs with other rates share the function.
    def apply(params: PyTree, x: jax.Array, lengths: jax.Array | None, rates: Rates) -> jax.Array:
        logits = model.apply({"params": params}, x, lengths, Regularization(rates))
        assert isinstance(logits, jax.Array)
        return logits

    return jit_with_precision(spec, apply)
