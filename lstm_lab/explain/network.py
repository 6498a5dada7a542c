"""The recurrent part of a trained model as a map from one state to the next.

    s_t, o_t = F(s_(t-1), x_t)

s is the whole state of all layers as one vector: h, c and whatever else a cell carries. x is what
the stack reads, such as an embedding; o is what the head reads. F is the model itself in evaluation
mode, called with one step, so it has the residual connections and the zoneout of the model. It is
computed in float64 (`jax.enable_x64`), because the analyses look at small differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import rates_of
from lstm_lab.models.build import build_model
from lstm_lab.models.recurrent import States
from lstm_lab.models.regularization import Regularization
from lstm_lab.models.sequence_model import SequenceModel
from lstm_lab.tasks import IGNORE_INDEX, Categorical, Examples, Target
from lstm_lab.training.state import zero_states
from lstm_lab.utils.types import PyTree

NO_TARGET = "none of the sequences that are analyzed has a target"


class StatePlace(NamedTuple):
    """The layer and the part of the state that a number of the state vector belongs to.

    Attributes:
      layer: number of the layer.
      field: h, c, or another field of `State`.
      unit: number of the unit.
    """

    layer: int
    field: str
    unit: int

    def __str__(self) -> str:
        return f"{self.field}[{self.unit}] of layer {self.layer}"


@dataclass(frozen=True)
class Network:
    """A trained model of one direction as a map from state to state, in float64.

    Attributes:
      model: the model, with float64 as its compute dtype.
      params: its parameters, float64.
      rates: the rates of its regularization, which evaluation reads for zoneout.
      zeros: states of one row, all zero; only shapes are read.

    Example:
      with jax.enable_x64(True):
          network = build_network(trained.spec, trained.params)
          s_S, o_K = network.step(network.params["lstm"], network.zero, x_D)
    """

    model: SequenceModel
    params: PyTree
    rates: dict[str, float]
    zeros: States

    @property
    def zero(self) -> jax.Array:
        """The zero state [S]."""
        return ravel_pytree(self.zeros)[0]

    @property
    def outputs(self) -> int:
        """The number of outputs of the stack, K."""
        return int(self.zeros[-1][0].h.shape[-1])

    @property
    def places(self) -> list[StatePlace]:
        """The place of each number of the state, as `ravel_pytree` orders them."""
        return [
            StatePlace(layer, field, unit)
            for layer, (state,) in enumerate(self.zeros)
            for field, array in state._asdict().items()
            if array is not None
            for unit in range(array.shape[-1])
        ]

    def step(
        self, weights: PyTree, s_S: jax.Array, x_D: jax.Array, is_start: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Computes one time step.

        Args:
          weights: the parameters of the stack, an argument so that they can be differentiated.
          s_S: the state.
          x_D: the input of the stack.
          is_start: true to start from the cell's own initial state and ignore `s_S`.

        Returns:
          The next state [S], and the output of the stack [K].
        """
        output, states = self.model.lstm.clone(return_sequences=True).apply(
            {"params": weights},
            x_D[None, None],
            ravel_pytree(self.zeros)[1](s_S),
            is_start=is_start,
            regularization=Regularization(self.rates),
        )
        return ravel_pytree(states)[0], output[0, 0]

    def run(self, weights: PyTree, x_TD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Runs a whole sequence from the initial state.

        Args:
          weights: the parameters of the stack.
          x_TD: the inputs.

        Returns:
          The states after each step [T,S], and the outputs [T,K].
        """

        def one(s_S: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, PyTree]:
            s_S, o_K = self.step(weights, s_S, *now)
            return s_S, (s_S, o_K)

        is_start_T = jnp.arange(x_TD.shape[0]) == 0
        return jax.lax.scan(one, self.zero, (x_TD, is_start_T))[1]

    def next_state(self, s_S: jax.Array, x_D: jax.Array) -> jax.Array:
        """Computes F(s, x) with the trained weights: the next state [S]."""
        return self.step(self.params["lstm"], s_S, x_D)[0]

    def logits(self, o: jax.Array) -> jax.Array:
        """Applies the trained head to outputs of the stack [...,K]."""
        logits = self.model.apply({"params": self.params}, o, method="apply_head")
        assert isinstance(logits, jax.Array)
        return logits


def build_network(spec: RunSpec, params: PyTree) -> Network:
    """Returns the network of a run; the caller has enabled float64.

    Args:
      spec: a run with one stack that reads in one direction.
      params: its parameters.
    """
    model = build_model(spec)
    assert isinstance(model, SequenceModel)
    # The reference backend has forward-mode derivatives, which the others lack.
    model = model.clone(dtype=jnp.float64, lstm=model.lstm.clone(backend="scan"))
    exact = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), params)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape), zero_states(spec, params, rows=1))
    return Network(model, exact, rates_of(spec.model), zeros)


class Visited(NamedTuple):
    """What a network does on the first validation sequences; host arrays, float64.

    Attributes:
      examples: the sequences.
      x_BTD: the inputs of the stack.
      s_BTS: the state after each step; in the padding it has no meaning.
      o_BTK: the outputs of the stack.
      is_real_BT: whether a step is no padding.
    """

    examples: Examples
    x_BTD: np.ndarray
    s_BTS: np.ndarray
    o_BTK: np.ndarray
    is_real_BT: np.ndarray

    @property
    def states(self) -> np.ndarray:
        """All states of real steps [N,S]."""
        return self.s_BTS[self.is_real_BT]

    @property
    def lengths(self) -> np.ndarray:
        """Number of real steps of each sequence [B]."""
        return self.is_real_BT.sum(1)

    def has_target(self, target: Target) -> np.ndarray:
        """Returns whether a step has a target [B,T]; that of a whole sequence is at its last step.

        Args:
          target: what the model predicts.
        """
        is_real_BT = self.is_real_BT
        if not target.every_step:
            return is_real_BT & (np.arange(is_real_BT.shape[1]) == self.lengths[:, None] - 1)
        if isinstance(target, Categorical):
            return is_real_BT & (np.asarray(self.examples.y) != IGNORE_INDEX)
        return is_real_BT

    def with_target(self, target: Target, rows: int) -> tuple[Visited, np.ndarray]:
        """Returns the first sequences that have a target, and at which steps they have one [B,T].

        Args:
          target: what the model predicts.
          rows: number of sequences; fewer if fewer have a target.
        """
        has_target_BT = self.has_target(target)
        chosen_B = np.flatnonzero(has_target_BT.any(1))[:rows]
        part: Visited = jax.tree.map(lambda array: array[chosen_B], self)
        return part, has_target_BT[chosen_B]

    def first(self, rows: int, steps: int) -> Visited:
        """Returns the first steps of the first sequences."""
        examples, B, T = self.examples, slice(rows), slice(steps)
        lengths = examples.lengths
        # Targets of whole sequences have no time axis; with fewer steps they are not read.
        cut = examples._replace(
            x=examples.x[B, T],
            y=examples.y[B, T] if examples.y.shape[:2] == examples.x.shape[:2] else examples.y[B],
            lengths=None if lengths is None else np.minimum(lengths[B], steps),
            weights=None if examples.weights is None else examples.weights[B],
        )
        x_BTD, s_BTS, o_BTK, is_real_BT = (array[B, T] for array in self[1:])
        return Visited(cut, x_BTD, s_BTS, o_BTK, is_real_BT)


def visit(network: Network, examples: Examples) -> Visited:
    """Runs a network over sequences; the caller has enabled float64.

    Args:
      network: the network.
      examples: the sequences, host arrays.
    """

    def run(params: PyTree, x: jax.Array, lengths: jax.Array | None) -> PyTree:
        x_TBD = network.model.apply({"params": params}, x, lengths, method="stack_inputs")
        x_BTD = jnp.swapaxes(jnp.asarray(x_TBD), 0, 1)
        return x_BTD, *jax.vmap(network.run, (None, 0))(params["lstm"], x_BTD)

    x_BTD, s_BTS, o_BTK = jax.device_get(jax.jit(run)(network.params, examples.x, examples.lengths))
    B, T = x_BTD.shape[:2]
    length_B = np.full(B, T) if examples.lengths is None else np.asarray(examples.lengths)
    return Visited(examples, x_BTD, s_BTS, o_BTK, np.arange(T)[None] < length_B[:, None])
