"""From a spec to its Flax module, and what the module expects as input."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.encoder_decoder import EncoderDecoder
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.sequence_model import SequenceModel
from lstm_lab.recurrence import Backend, CallSignature, resolve
from lstm_lab.tasks import Task, Tokens, Translation
from lstm_lab.utils.errors import UserError


def build_model(spec: RunSpec, trace: bool = False) -> SequenceModel | EncoderDecoder:
    """Builds the Flax module of a spec; one that keeps its gates has the backend that can."""
    inputs, target = spec.task.inputs, spec.task.target
    if isinstance(spec.task, Translation):
        return build_encoder_decoder(
            spec.model,
            resolve_cell(spec.model),
            source_vocabulary=spec.task.source_vocabulary,
            vocabulary=spec.task.vocabulary,
            backend=spec.compute.backend,
        )
    return build_sequence_model(
        spec.model,
        resolve_cell(spec.model),
        vocabulary=inputs.vocabulary if isinstance(inputs, Tokens) else None,
        outputs=target.size,
        every_step=target.every_step,
        backend="scan" if trace else spec.compute.backend,
        trace=trace,
    )


def backends_for_training(spec: RunSpec, rows: int, members: int = 1) -> list[Backend]:
    """Returns the backends of the recurrence that training takes here, each once, by layer.

    Args:
      spec: the run.
      rows: sequences of a step on one device.
      members: how many members are batched there.

    Raises:
      UserError: for one that is named and cannot serve the run here.
    """
    model, inputs = build_model(spec), spec.task.inputs
    width = inputs.vocabulary if isinstance(inputs, Tokens) else inputs.features
    D, dtype = spec.model.embedding or width, jnp.dtype(spec.model.dtype)
    single = isinstance(model, SequenceModel)
    taken: dict[Backend, None] = {}
    for stack in (model.lstm,) if single else (model.encoder, model.decoder):
        for call in stack.calls(CallSignature(stack.spec, dtype, rows, D, members=members)):
            try:
                taken[resolve(stack.backend, call)] = None
            except ValueError as error:
                raise UserError(f"compute.{error}") from None
    return list(taken)


def zero_inputs(task: Task, rows: int, T: int) -> jax.Array:
    """Returns zeros of the shape and type of a task's inputs: [rows,T], or [rows,T,D]."""
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
) -> SequenceModel:
    """Builds the module of a model spec.

    Args:
      model: the spec.
      cell: the variant that `model.cell` names, with the model's own forget bias and initialiser.
      vocabulary: symbols where inputs are tokens, None where they are vectors.
      outputs: numbers that the head gives.
      every_step: read every step rather than the last state.
      backend: as in `recurrence.unroll`.
      trace: as in `LSTM`.

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
        ),
        vocabulary=vocabulary,
        embedding=model.embedding,
        outputs=outputs,
        initializer=getattr(cell, "init", "glorot"),
        dropout_out=model.dropout_out,
        dropout_words=model.dropout_words,
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
) -> EncoderDecoder:
    """Builds the module of a model spec that gives one sequence from another.

    Args:
      model: the spec; `bidirectional` is of its encoder.
      cell: as in `build_sequence_model`.
      source_vocabulary, vocabulary: symbols.
      backend: as in `recurrence.unroll`.

    Returns:
      The module.
    """
    assert model.embedding is not None
    stepwise = model.attention == "bahdanau"
    decoder = LSTM(
        spec=cell,
        hidden_sizes=model.layer_widths,
        dropout=model.dropout,
        dropout_in=model.dropout_in,
        locked=model.locked,
        residual=model.residual,
        backend="scan" if stepwise else backend,
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
