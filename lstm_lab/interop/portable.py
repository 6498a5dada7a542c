"""A trained model as plain data, which all targets of an export read.

In: a finished run. Out: `PortableModel`: its layers with their specs and weights, the embedding and
the head. It imports JAX only to convert arrays; the result is NumPy. It needs no package of a
target. Read trained_equations.py next: the equations of a layer as a trained model computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from lstm_lab.cells.catalogue import CATALOGUE
from lstm_lab.cells.cell import Spec, State
from lstm_lab.config.sections import Merge
from lstm_lab.config.variant import rates_of, resolve_cell
from lstm_lab.inference.load import Trained
from lstm_lab.models.recurrent import parameter_name
from lstm_lab.tasks import Tokens
from lstm_lab.training.state import zero_states
from lstm_lab.utils.errors import UserError

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class PortableLayer:
    """One cell of a stack: a layer in one direction.

    Attributes:
      name: `layer_0`, or `layer_0_reverse` for the direction that reads from the last step.
      spec: the variant.
      params: its arrays, float32, as `spec.cell.init` draws them.
      rates: rates of its regularization by name; a trained model reads those of zoneout.
      reverse: whether it reads the sequence from the last step to the first.
      state_sizes: width of each field of its state: `{"h": 16, "c": 32}`.

    Example:
      layer = portable_model(run.trained).layers[0][0]
      layer.params["wx"].shape  # (D, 4, H)
    """

    name: str
    spec: Spec
    params: Mapping[str, FloatArray]
    rates: Mapping[str, float]
    reverse: bool
    state_sizes: Mapping[str, int]

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.params["wx"].shape[0])

    @property
    def units(self) -> int:
        """Number of hidden units."""
        return int(self.params["wx"].shape[2])

    @property
    def outputs(self) -> int:
        """Number of outputs: the number of hidden units, or the size of the projection."""
        return self.state_sizes["h"]


@dataclass(frozen=True)
class PortableModel:
    """Embedding, stack and head of a trained model, float32.

        logits = W h + b,    h = stack(embed(x)) for tokens, or stack(x) for vectors

    Attributes:
      layers: by layer, then by direction.
      merge: how the outputs of the two directions are joined.
      residual: whether each layer from the second on adds its input to its output.
      vocabulary: number of input symbols, or None if inputs are vectors.
      embedding_VE: the embedding, or None if tokens are one-hot or inputs are vectors.
      kernel_KC, bias_C: the head; with tied weights, the kernel is the transposed embedding.
      tied: whether head and embedding share their weights.
      every_step: whether the head reads every step, or only the last real one.
      subtract_last: whether the last real vector is subtracted from the inputs.

    Example:
      model = portable_model(run.trained)
      model.features, model.kernel_KC.shape
    """

    layers: tuple[tuple[PortableLayer, ...], ...]
    merge: Merge
    residual: bool
    vocabulary: int | None
    embedding_VE: FloatArray | None
    kernel_KC: FloatArray
    bias_C: FloatArray
    tied: bool
    every_step: bool
    subtract_last: bool

    @property
    def spec(self) -> Spec:
        """The variant of all layers."""
        return self.layers[0][0].spec

    @property
    def features(self) -> int:
        """Number of inputs of the stack, D."""
        return self.layers[0][0].inputs

    @property
    def bidirectional(self) -> bool:
        """Whether each layer also reads the sequence backwards."""
        return len(self.layers[0]) == 2

    @property
    def streaming_problem(self) -> str | None:
        """Why the model cannot answer after each step, or None if it can."""
        if self.bidirectional:
            return "a bidirectional model needs the end of the sequence"
        if self.subtract_last:
            return "model.subtract_last needs the last value of the sequence"
        return None

    @property
    def state_sizes(self) -> dict[str, int]:
        """The width of each part of the state: `layer_0.h`, `layer_0.c`, ...

        Their order is that of layers, directions and fields.
        """
        return {
            f"{layer.name}.{field}": size
            for directions in self.layers
            for layer in directions
            for field, size in layer.state_sizes.items()
        }

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of all parts of the state, in the order of `state_sizes`."""
        return tuple(self.state_sizes)


def portable_model(trained: Trained) -> PortableModel:
    """Returns the model of a run as plain data.

    Args:
      trained: the run.

    Raises:
      UserError: for a translation, whose two stacks and attention only `stablehlo` and
        `safetensors` can express.

    Example:
      portable_model(ll.load_run("runs/shakespeare").trained).vocabulary  # 65
    """
    spec, model = trained.spec, trained.spec.model
    if spec.task.source_vocabulary is not None:
        raise UserError(
            "export: a translation model has an encoder, a decoder and an attention, expected a "
            "model with one stack; --to=stablehlo and --to=safetensors export it"
        )
    params = jax.tree.map(lambda array: np.asarray(array, np.float32), trained.params)
    cell, inputs = resolve_cell(model), spec.task.inputs
    embedding = params.get("embed", {}).get("embedding")
    if model.tied:
        kernel, bias = params["embed"]["embedding"].T, params["bias"]
    else:
        kernel, bias = params["head"]["kernel"], params["head"]["bias"]
    sizes = [[_state_sizes(state) for state in row] for row in zero_states(spec, params, rows=1)]
    layers = tuple(
        tuple(
            PortableLayer(
                name=parameter_name(number, reverse),
                spec=cell,
                params=params["lstm"][parameter_name(number, reverse)],
                rates=rates_of(model),
                reverse=reverse,
                state_sizes=sizes[number][direction],
            )
            for direction, reverse in enumerate((False, True)[: 1 + model.bidirectional])
        )
        for number in range(len(model.layer_widths))
    )
    return PortableModel(
        layers=layers,
        merge=model.merge,
        residual=model.residual,
        vocabulary=inputs.vocabulary if isinstance(inputs, Tokens) else None,
        embedding_VE=embedding,
        kernel_KC=kernel,
        bias_C=bias,
        tied=model.tied,
        every_step=spec.task.target.every_step,
        subtract_last=model.subtract_last,
    )


def _state_sizes(state: State) -> dict[str, int]:
    fields = state._asdict().items()
    return {name: array.shape[-1] for name, array in fields if array is not None}


def variant_name(spec: Spec) -> str:
    """Returns the name of a variant for a message: its name in the catalogue, or its class.

    Example:
      variant_name(GRUSpec())  # "gru"
    """
    names = (name for name, variant in CATALOGUE.items() if variant.spec == spec)
    return next(names, type(spec).__name__)
