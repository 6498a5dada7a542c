"""Lesions of gates: what it costs to fix one gate of one layer to a constant.

A gate whose values matter from step to step makes the loss rise if each of its units is fixed to
its own mean. A gate that always has about the same value makes no difference then, however large
that value is. Fixed to 0 or to 1, a gate is closed or open: `f` = 0 forgets at every step, `f` = 1
never.

    cost(gate, value) = loss with the gate fixed - loss of the intact model

The gates are replaced by `clamp` of the recurrence, one at a time, on validation sequences; the
rest of the model stays as it was trained, so the cost is not that of a model trained without the
gate.

Source: Greff et al. 2017, LSTM: A Search Space Odyssey, removes gates before training; Meyes et al.
2019, Ablation studies in artificial neural networks, sets parts of a trained network to constants.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.cell import GateValue, Spec, State
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import build_model
from lstm_lab.models.regularization import Regularization
from lstm_lab.models.sequence_model import SequenceModel
from lstm_lab.tasks import Batch, Examples, means, ordered_metrics
from lstm_lab.training.forward import metrics
from lstm_lab.utils.types import PyTree

# Gates with values between 0 and 1, which can be closed and opened.
BETWEEN_0_AND_1 = ("i", "f", "o", "r", "z")


@dataclass(frozen=True)
class Lesion:
    """A model with one gate fixed.

    Attributes:
      layer: the name of the layer's parameters, such as `layer_0` or `layer_0_reverse`.
      gate: the name of the gate.
      value: `mean`, `0` or `1`.
      metrics: its metrics, the loss first.
    """

    layer: str
    gate: str
    value: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Lesions:
    """What lesions of a model cost.

    Attributes:
      intact: the metrics of the model as it is, the loss first.
      lesions: by layer, gate and value.
      refused: gates that cannot be fixed, with the reason.
    """

    intact: dict[str, float]
    lesions: list[Lesion]
    refused: dict[str, str]


def unsupported_reason(cell: Spec) -> str | None:
    """Returns why the gates of a cell cannot be fixed, or None."""
    if "clamp" not in inspect.signature(cell.cell.pointwise).parameters:
        return "the cell's pointwise takes no clamp"
    return None


def lesion_gates(
    spec: RunSpec,
    params: PyTree,
    examples: Examples,
    advance: Callable[[str], None] = lambda text: None,
) -> Lesions:
    """Measures a model with each gate of each layer fixed, one at a time.

    Args:
      spec: a run with one stack.
      params: its parameters.
      examples: sequences with targets, host arrays.
      advance: is called with the name of each gate before it is measured.
    """
    batch = Batch(examples, jnp.ones(len(examples.x)), jnp.arange(len(examples.x)))
    intact, means_by_layer = _intact(spec, params, batch)
    lesions: list[Lesion] = []
    refused: dict[str, str] = {}
    for layer, gates in means_by_layer.items():
        for gate, mean_H in gates.items():
            advance(f"{layer}, gate {gate}")
            values = {"mean": mean_H}
            if gate in BETWEEN_0_AND_1:
                values |= {"0": np.zeros_like(mean_H), "1": np.ones_like(mean_H)}
            measure = _compiled(spec, layer, gate)
            try:
                measured = {name: measure(params, batch, value) for name, value in values.items()}
            except ValueError as error:
                # The cell's own reason, such as a gate inside the product with h.
                refused[f"{layer}, gate {gate}"] = str(error)
                continue
            lesions += [
                Lesion(layer, gate, value, ordered_metrics(spec.task.target, scores))
                for value, scores in measured.items()
            ]
    return Lesions(ordered_metrics(spec.task.target, intact), lesions, refused)


def _model(spec: RunSpec, **stack: Any) -> SequenceModel:
    model = build_model(spec)
    assert isinstance(model, SequenceModel)
    # The reference backend: the only one that traces every cell and takes arrays for gates.
    return model.clone(lstm=model.lstm.clone(backend="scan", **stack))


def _scores(
    spec: RunSpec, model: SequenceModel, params: PyTree, batch: Batch
) -> tuple[dict[str, jax.Array], PyTree]:
    """Returns the metrics of a batch, and the collection `traces`."""
    examples = batch.examples
    with jax.default_matmul_precision(spec.model.precision):
        (outputs, _), variables = model.apply(
            {"params": params},
            examples.x,
            examples.lengths,
            Regularization(rates_of(spec.model)),
            method="outputs_and_states",
            mutable=["traces"],
        )
    return means(spec.task.target, metrics(spec, outputs, batch)), variables


def _intact(
    spec: RunSpec, params: PyTree, batch: Batch
) -> tuple[dict[str, jax.Array], dict[str, dict[str, np.ndarray]]]:
    """Returns the metrics of the model as it is, and the mean of each gate's units, by layer."""

    @jax.jit
    def measure(params: PyTree, batch: Batch) -> PyTree:
        model = _model(spec, trace=True)
        scores, variables = _scores(spec, model, params, batch)
        B, T = batch.examples.x.shape[:2]
        lengths = batch.examples.lengths
        length_B = jnp.full(B, T) if lengths is None else lengths
        is_real_TB1 = (jnp.arange(T)[:, None] < length_B[None])[..., None]

        def mean(values_TBH: jax.Array) -> jax.Array:
            return jnp.where(is_real_TB1, values_TBH, 0.0).sum((0, 1)) / length_B.sum()

        return scores, {
            layer: jax.tree.map(mean, _gates(traced))
            for layer, (traced,) in variables["traces"]["lstm"].items()
        }

    scores, gates = jax.device_get(measure(params, batch))
    return scores, gates


def _gates(traced: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the gates among the traced arrays, which have the fields of the state as well."""
    # The candidate of a GRU is called n, as the normalizer of the sLSTM, which has no gate n.
    fields = set(State._fields) - ({"n"} if "m" not in traced else set())
    return {name: values for name, values in traced.items() if name not in fields}


def _compiled(spec: RunSpec, layer: str, gate: str) -> Callable[..., dict[str, jax.Array]]:
    """Returns (params, batch, value [H]) -> metrics, compiled once for all values of a gate."""

    @jax.jit
    def measure(params: PyTree, batch: Batch, value: GateValue) -> dict[str, jax.Array]:
        model = _model(spec, clamp={layer: {gate: value}})
        return _scores(spec, model, params, batch)[0]

    return measure
