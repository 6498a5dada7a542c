"""Builds the Flax module of a run from its spec.

`build_model` is the entry point: it reads the task's inputs and target and returns a
`SequenceModel`, or an `EncoderDecoder` for tasks with a source sequence. It allocates nothing;
parameters come from the module's `init`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from lstm_lab.cells.cell import Spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import rates_of, resolve_cell
from lstm_lab.models.encoder_decoder import EncoderDecoder
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.sequence_model import SequenceModel
from lstm_lab.recurrence import Backend, CallSignature, DeviceType, resolve
from lstm_lab.tasks import Task, Tokens
from lstm_lab.utils.errors import UserError


def build_model(
    spec: RunSpec, trace: bool = False, device: DeviceType | None = None
) -> SequenceModel | EncoderDecoder:
    """Builds the Flax module of a run.

    Args:
      spec: the run.
      trace: whether the module stores gates and states of all steps, see `LSTM.trace`.
      device: the type of device for which the module is compiled; None stands for this process's.

    Returns:
      The module, without parameters.

    Example:
      >>> model = build_model(spec)
      >>> params = model.init(jax.random.key(0), zero_inputs(spec.task, 1, 1))["params"]
    """
    inputs, target = spec.task.inputs, spec.task.target
    if spec.task.source_vocabulary is not None:
        return build_encoder_decoder(
            spec.model,
            resolve_cell(spec.model),
            source_vocabulary=spec.task.source_vocabulary,
            vocabulary=target.size,
            backend=spec.compute.backend,
            device=device,
        )
    return build_sequence_model(
        spec.model,
        resolve_cell(spec.model),
        vocabulary=inputs.vocabulary if isinstance(inputs, Tokens) else None,
        outputs=target.size,
        every_step=target.every_step,
        # The kernels of the other backends return no gates.
        backend="scan" if trace else spec.compute.backend,
        trace=trace,
        device=device,
    )


def jit_with_precision(spec: RunSpec, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that calls the model of a run, with the run's precision of products.

    The precision of JAX is a setting of the process. A module has none of its own, so a call
    outside of this context would compute with the default: TF32 on GPUs.

    Args:
      spec: the run; `model.precision` is read.
      function: of arrays.

    Example:
      logits = jit_with_precision(spec, build_model(spec).apply)({"params": params}, x)
    """

    @wraps(function)
    def precise(*args: Any) -> Any:
        with jax.default_matmul_precision(spec.model.precision):
            return function(*args)

    return jax.jit(precise)


def backends_for_training(
    spec: RunSpec, rows: int, members: int = 1, device: DeviceType | None = None
) -> list[Backend]:
    """Returns the distinct backends that training uses, in the order of the layers.

    Args:
      spec: the run.
      rows: number of sequences per step and device.
      members: number of members that `vmap` batches on a device.
      device: as in `build_model`.

    Raises:
      UserError: if `compute.backend` names a backend that cannot serve this run there.
    """
    model, inputs = build_model(spec, device=device), spec.task.inputs
    features = inputs.vocabulary if isinstance(inputs, Tokens) else inputs.features
    D, dtype = spec.model.embedding or features, jnp.dtype(spec.model.dtype)
    stacks = (model.lstm,) if isinstance(model, SequenceModel) else (model.encoder, model.decoder)
    backends: dict[Backend, None] = {}  # a set that keeps its order
    for stack in stacks:
        first = CallSignature(stack.spec, dtype, rows, D, members=members, device=device)
        for call in stack.call_signatures(first):
            try:
                backends[resolve(stack.backend, call)] = None
            except ValueError as error:
                raise UserError(f"compute.{error}") from None
    return list(backends)


def zero_inputs(task: Task, rows: int, T: int) -> jax.Array:
    """Returns zeros with the shape and dtype of a task's inputs: [rows,T] or [rows,T,D]."""
    inputs = task.inputs
    if isinstance(inputs, Tokens):
        return jnp.zeros((rows, T), jnp.int32)
    return jnp.zeros((rows, T, inputs.features))


def build_sequence_model(
    model: ModelSpec,
    cell: Spec,
    *,
    vocabulary: int | None,
    outputs: int,
    every_step: bool,
    backend: Backend = "auto",
    trace: bool = False,
    device: DeviceType | None = None,
) -> SequenceModel:
    """Builds a model with one recurrent stack, without reference to a task.

    Args:
      model: settings of the model.
      cell: the variant that `model.cell` names, with the forget bias and initializer of `model`.
      vocabulary: number of symbols if inputs are tokens, None if they are vectors.
      outputs: number of outputs of the head.
      every_step: whether the head reads every step, or only the last one.
      backend: as in `recurrence.unroll`.
      trace: as in `LSTM`.
      device: as in `LSTM`.

    Returns:
      The module; its parameters come from `init(key, x)`.
    """
    return SequenceModel(
        lstm=LSTM(
            spec=cell,
            hidden_sizes=model.layer_widths,
            bidirectional=model.bidirectional,
            merge=model.merge,
            dropout=model.dropout,
            dropout_in=model.dropout_in,
            locked=model.locked,
            residual=model.residual,
            return_sequences=every_step,
            backend=backend,
            trace=trace,
            rates=FrozenDict(rates_of(model)),
            device=device,
        ),
        vocabulary=vocabulary,
        embedding=model.embedding,
        outputs=outputs,
        initializer=getattr(cell, "init", "glorot"),
        dropout_out=model.dropout_out,
        dropout_words=model.dropout_words,
        dropout_words_per=model.dropout_words_per,
        tied=model.tied,
        subtract_last=model.subtract_last,
        dtype=jnp.dtype(model.dtype),
    )


def build_encoder_decoder(
    model: ModelSpec,
    cell: Spec,
    *,
    source_vocabulary: int,
    vocabulary: int,
    backend: Backend = "auto",
    device: DeviceType | None = None,
) -> EncoderDecoder:
    """Builds an encoder and decoder, without reference to a task.

    Args:
      model: settings of the model; `bidirectional` and `merge` apply to the encoder only.
      cell: as in `build_sequence_model`.
      source_vocabulary, vocabulary: number of symbols of the source and of the target.
      backend: as in `recurrence.unroll`.
      device: as in `LSTM`.

    Returns:
      The module.
    """
    assert model.embedding is not None
    # This attention calls the decoder with one step at a time. A kernel for whole sequences gains
    # nothing there.
    stepwise = model.attention == "bahdanau"
    decoder = LSTM(
        spec=cell,
        hidden_sizes=model.layer_widths,
        dropout=model.dropout,
        dropout_in=model.dropout_in,
        locked=model.locked,
        residual=model.residual,
        backend="scan" if stepwise else backend,
        rates=FrozenDict(rates_of(model)),
        device=device,
    )
    return EncoderDecoder(
        encoder=decoder.clone(
            bidirectional=model.bidirectional, merge=model.merge, backend=backend
        ),
        decoder=decoder,
        source_vocabulary=source_vocabulary,
        vocabulary=vocabulary,
        embedding=model.embedding,
        attention=model.attention,
        dropout_out=model.dropout_out,
        dtype=jnp.dtype(model.dtype),
    )
