"""A model's outputs for all examples of a split, on the host: what no sum over batches can say."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.beam_search import translate
from lstm_lab.models.build import model_of
from lstm_lab.tasks import Examples

ROWS = 256  # of a compiled call


def outputs(spec: RunSpec, params: Any, examples: Examples) -> np.ndarray:
    """Computes a model's logits or values [N,...] in evaluation.

    Args:
      spec: the run.
      params: its parameters, at its own size.
      examples: inputs and lengths; targets are not read.
    """
    apply, N = _compiled(program_spec(spec)), examples.x.shape[0]
    found = []
    for begin in range(0, N, ROWS):
        # Filled up with the last example, so that all calls have one shape.
        rows = np.minimum(np.arange(begin, begin + min(ROWS, N)), N - 1)
        lengths = None if examples.lengths is None else examples.lengths[rows]
        found.append(np.asarray(apply(params, examples.x[rows], lengths)))
    return np.concatenate(found)[:N]


def final_scores(
    spec: RunSpec, params: Any, test: Examples, preprocessing: dict[str, Any]
) -> dict[str, float]:
    """Returns the metrics that a task computes of all outputs at once, where it has such."""
    if not spec.task.final_metric_names:
        return {}
    if test.source is not None:
        return spec.task.final_metrics(translate(spec, params, test.source), test, preprocessing)
    return spec.task.final_metrics(outputs(spec, params, test), test, preprocessing)


@lru_cache(maxsize=8)
def _compiled(spec: RunSpec) -> Callable[..., jax.Array]:
    model = model_of(spec)

    def apply(params: Any, x: jax.Array, lengths: jax.Array | None) -> jax.Array:
        with jax.default_matmul_precision(spec.model.precision):
            logits = model.apply({"params": params}, x, lengths)
        assert isinstance(logits, jax.Array)
        return logits

    return jax.jit(apply)
