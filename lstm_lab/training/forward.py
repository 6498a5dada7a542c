"""The forward pass of one batch, from examples to outputs and loss, and how long it is.

`step.py` differentiates it, `evaluate.py` measures it. The model itself is in `models/`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import lax

from lstm_lab.cells.masks import RATES
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import build_model
from lstm_lab.models.head import Outputs, cross_entropy
from lstm_lab.models.recurrent import States
from lstm_lab.models.regularization import Regularization
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import (
    Batch,
    Categorical,
    MetricSums,
    Split,
    Stream,
    loss_sum,
    loss_weights,
    metric_sums,
)
from lstm_lab.training.state import TrainState
from lstm_lab.utils.types import PyTree

# Batches of at most so many rows are cut near the end of their longest sequence. In larger batches
# some sequence is nearly always long, and every length is one more copy of the step to compile.
FEW_ROWS = 2
# The lengths at which such a batch may end, in eighths of the longest sequence of the data.
EIGHTHS = (3, 4, 5, 8)

# The methods whose results are the outputs of a module, of one layer of the stack, of the model.
LAYER_METHOD = "_combine"
OUTPUT_METHODS = ("__call__", LAYER_METHOD, "logits_and_states")

# Folded into the key of the noise where a batch is generated. Otherwise the noise of a row would
# have the key of its example, since both have the same seed by default, and a dropout mask would be
# a function of the data. No step has this number: steps are int32.
GENERATED = 2**31

Result = TypeVar("Result")


class Forward(NamedTuple):
    """The outputs of a forward pass.

    Attributes:
      outputs: features after the last step or at every step, and the head that reads them.
      states: final states of the recurrent layers; a stream continues from them.
      features: outputs of the last layer by name, as `activation_penalties.penalty` takes them.
    """

    outputs: Outputs
    states: States
    features: dict[str, tuple[jax.Array, ...]]


def forward(
    spec: RunSpec,
    params: PyTree,
    batch: Batch,
    regularization: Regularization,
    states: States | None = None,
    device: DeviceType | None = None,
) -> Forward:
    """Computes the outputs of a batch.

    Args:
      spec: the run.
      params: parameters of the model.
      batch: the examples.
      regularization: rates, and keys in training; without keys nothing is drawn.
      states: for a stream, the final states of the chunk before; else None.
      device: the type of device for which the pass is compiled; None stands for this process's.

    Returns:
      Outputs, final states and the last layer's outputs.
    """
    arguments, source = _arguments(batch, regularization, states)
    with jax.default_matmul_precision(spec.model.precision):
        (outputs, states), variables = build_model(spec, device=device).apply(
            {"params": params},
            *arguments,
            method="outputs_and_states",
            mutable=["features"],
            **source,
        )
    return Forward(outputs, states, variables.get("features", {}))


def loss_and_metrics(
    spec: RunSpec, outputs: Outputs, batch: Batch
) -> tuple[jax.Array, jax.Array, MetricSums]:
    """Computes the training loss of a batch, as a sum and a count, and the sums of its metrics.

    Args:
      spec: the run.
      outputs: as `forward` returns them.
      batch: the examples.
    """
    target, smoothing = spec.task.target, spec.train.label_smoothing
    with jax.default_matmul_precision(spec.model.precision):
        if isinstance(target, Categorical) and target.every_step:
            weight_BT = loss_weights(target, batch)
            total, scores = cross_entropy(outputs, batch.examples.y, weight_BT, smoothing)
            return total, weight_BT.sum(), metric_sums(target, scores, batch)
        logits = outputs.logits()
    total, count = loss_sum(target, logits, batch, smoothing)
    return total, count, metric_sums(target, logits, batch)


def metrics(spec: RunSpec, outputs: Outputs, batch: Batch) -> MetricSums:
    """Computes the sums of the metrics of a batch, without gradients.

    Args:
      spec, outputs, batch: as in `loss_and_metrics`.
    """
    target = spec.task.target
    with jax.default_matmul_precision(spec.model.precision):
        if isinstance(target, Categorical) and target.every_step:
            return metric_sums(target, outputs.scores(batch.examples.y), batch)
        return metric_sums(target, outputs.logits(), batch)


def _arguments(
    batch: Batch, regularization: Regularization, states: States | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments of a model for a batch; only an encoder-decoder takes a source."""
    examples = batch.examples
    is_start = None if states is None else batch.is_start
    source = {} if examples.source is None else {"source": examples.source}
    return (examples.x, examples.lengths, regularization, states, is_start), source


def activations(
    spec: RunSpec,
    params: PyTree,
    batch: Batch,
    regularization: Regularization,
    states: States | None = None,
) -> dict[str, list[jax.Array]]:
    """Returns what the modules of a model return, in the order in which they are computed.

    Args:
      spec, params, batch, regularization, states: as in `forward`.

    Returns:
      The output arrays by the path of the module, with slashes; the whole model is last.
    """
    arguments, source = _arguments(batch, regularization, states)
    with jax.default_matmul_precision(spec.model.precision):
        _, variables = build_model(spec).apply(
            {"params": params},
            *arguments,
            method="logits_and_states",
            mutable=["features", "intermediates"],
            capture_intermediates=lambda _, method: method in OUTPUT_METHODS,
            **source,
        )
    found: dict[str, list[jax.Array]] = {}
    for path, outputs in flatten_dict(variables["intermediates"]).items():
        module = "/".join(path[:-1]) or "model"
        if path[-1] == LAYER_METHOD:
            # The stack calls it once per layer.
            layers = {f"{module}/layer_{k}": jax.tree.leaves(o) for k, o in enumerate(outputs)}
            found |= layers
        else:
            found[module] = jax.tree.leaves(outputs)
    return found


def regularization_rates(hparams: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the rates of regularizers among a member's numbers."""
    return {name: hparams[name] for name in (*RATES, "input_noise") if name in hparams}


def training_regularization(spec: RunSpec, state: TrainState, batch: Batch) -> Regularization:
    """Returns the rates and keys of a training step.

    Keys are folded from (noise seed, step, row of the whole batch), so that a mask depends neither
    on the number of devices nor on where training was interrupted.

    Args:
      spec: the run; only whether its task generates the batches is read.
      state: the member's state before the step.
      batch: the rows that are computed.
    """
    key = jax.random.key(state.noise_seed)
    # Stored data need no such key: a step draws no example, and earlier results keep their masks.
    if spec.task.sample is not None:
        key = jax.random.fold_in(key, GENERATED)
    key = jax.random.fold_in(key, state.step)
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, batch.rows_B)
    return Regularization(regularization_rates(state.hparams), key, keys_B)


def length_buckets(spec: RunSpec, split: Split | None) -> tuple[int, ...]:
    """Returns the lengths at which a batch of a split may end, rising.

    Empty if every batch is computed over its whole length.

    Small batches, and batches of similar length, are mostly far shorter than the longest sequence.

    Args:
      spec: the run.
      split: the data; None if they are generated.
    """
    if split is None or isinstance(split, Stream) or split.lengths is None:
        return ()
    if not (spec.train.bucket or spec.train.batch_size <= FEW_ROWS):
        return ()
    T = split.steps
    return tuple(-(-T * eighths // 8) for eighths in EIGHTHS)


def switch_on_length(
    buckets: tuple[int, ...], every_step: bool, function: Callable[[Batch], Result]
) -> Callable[[Batch], Result]:
    """Returns a function that first cuts its batch to the bucket of its longest sequence.

    Args:
      buckets: lengths, rising; each is compiled. If it is empty, the function stays as it is.
      every_step: whether the targets have a time axis.
      function: what is computed of a batch; its result has the same shapes for every length.
    """
    if not buckets:
        return function

    def of_first_steps(T: int, batch: Batch) -> Result:
        # Cut inside a branch: otherwise the batches of all lengths would be in memory.
        return function(_first_steps(batch, T, every_step))

    def switched(batch: Batch) -> Result:
        assert batch.examples.lengths is not None
        index = (jnp.array(buckets) < batch.examples.lengths.max()).sum()
        return lax.switch(index, [partial(of_first_steps, T) for T in buckets], batch)

    return switched


def _first_steps(batch: Batch, T: int, every_step: bool) -> Batch:
    """Returns a batch without the time steps from T on."""
    examples = batch.examples
    y = examples.y[:, :T] if every_step else examples.y
    return batch._replace(examples=examples._replace(x=examples.x[:, :T], y=y))
