"""Gates and states of a finished run at every step of new inputs.

In: a run and sequences of model inputs. Out: arrays by layer and name. `Run.states` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import jax
import numpy as np

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.inference.load import Trained
from lstm_lab.inference.predict import model_inputs, padded
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.regularization import Regularization
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import PyTree

LayerStates = dict[str, dict[str, np.ndarray]]  # by layer, then by gate or field of the state
# Sequences per call: a call holds all gates of all steps.
ROWS = 64


def states_over_time(trained: Trained, x: Iterable[np.ndarray]) -> list[LayerStates]:
    """Computes gates and states at every step.

    Args:
      trained: the run.
      x: sequences of any lengths: tokens [T], or vectors [T,D], as the task's data set holds them.

    Returns:
      For each sequence, arrays [T,H] by layer (`layer_0`, `layer_0_reverse`, ...) and by name: `h`,
      and, if the cell has them, `c` and its gates.

    Raises:
      UserError: for a sequence that `predict_arrays` refuses, or a translation.

    Example:
      states_over_time(load_run(Path("runs/adding")), x_NTD)[0]["layer_0"]["f"]
    """
    spec = trained.spec
    if spec.task.source_vocabulary is not None:
        raise UserError("states: got a translation, expected a task with one sequence of inputs")
    found: list[LayerStates] = []
    sequences = model_inputs(trained, x)
    for start in range(0, len(sequences), ROWS):
        x_NT, lengths = padded(sequences[start : start + ROWS])
        layers = _compiled(program_spec(spec))(trained.params, x_NT, lengths, rates_of(spec.model))
        for n, length in enumerate(lengths):
            found.append(
                {
                    layer: {name: np.asarray(a_TBH[:length, n]) for name, a_TBH in traced.items()}
                    for layer, traced in layers.items()
                }
            )
    return found


@lru_cache(maxsize=4)
def _compiled(spec: RunSpec) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    model = build_model(spec, trace=True)

    def trace(params: PyTree, x: jax.Array, lengths: jax.Array, rates: PyTree) -> PyTree:
        _, variables = model.apply(
            {"params": params}, x, lengths, Regularization(rates), mutable=["traces"]
        )
        return {name: traced for name, (traced,) in variables["traces"]["lstm"].items()}

    return jit_with_precision(spec, trace)
