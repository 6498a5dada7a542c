"""The recurrent stack: layers of one cell, in one direction or both, as a Flax module."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells import noise
from lstm_lab.cells.cell import Spec, State
from lstm_lab.recurrence import unroll
from lstm_lab.recurrence.unroll import EVERYTHING, Backend
from lstm_lab.regularise import Regularise, dropout, folded

Merge = Literal["concat", "sum", "mean", "product"]
States = tuple[tuple[State, ...], ...]


def merge_directions(outputs: list[jax.Array], merge: Merge) -> jax.Array:
    """Joins the outputs of the directions along their last axis."""
    if len(outputs) == 1:
        return outputs[0]
    forward, backward = outputs
    match merge:
        case "concat":
            return jnp.concatenate(outputs, -1)
        case "sum":
            return forward + backward
        case "mean":
            return (forward + backward) / 2
        case "product":
            return forward * backward


class LSTM(nn.Module):
    """Stacked, optionally bidirectional layers of one cell, time-major.

    Attributes:
      spec: the variant.
      widths: hidden units of each layer.
      bidirectional: run every layer in both directions.
      merge: how the two directions are joined.
      dropout: rate between layers.
      dropout_in: rate before the first layer.
      locked: one mask for all steps.
      residual: add a layer's input to its output, from the second layer on.
      return_sequences: give every step's output rather than the last state's.
      backend: as in `recurrence.unroll`.
      trace: keep gates and states of every step in the collection `traces`, by layer.
    """

    spec: Spec
    widths: tuple[int, ...]
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    dropout_in: float = 0.0
    locked: bool = False
    residual: bool = False
    return_sequences: bool = True
    backend: Backend = "auto"
    trace: bool = False

    @nn.compact
    def __call__(
        self,
        x_TBD: jax.Array,
        states: States | None = None,
        *,
        lengths: jax.Array | None = None,
        resets: jax.Array | None = None,
        fresh: jax.Array | None = None,
        regularise: Regularise | None = None,
    ) -> tuple[jax.Array, States]:
        """Runs the stack.

        Args:
          x_TBD: inputs [T,B,D].
          states: for each layer and direction the state to start from, or None for zero.
          lengths: real steps of each row [B], or None for T.
          resets: [T,B], true where a new segment starts, or None.
          fresh: whether to start from zero instead of from `states`, a scalar, or None.
          regularise: rates and keys; None means evaluation at the variant's own rates.

        Returns:
          Outputs [T,B,H], or [B,H] of the last state without `return_sequences`; and the final
          states. H doubles when two directions are concatenated.
        """
        regularise = regularise or Regularise({})
        final_states: list[tuple[State, ...]] = []
        h_TBH, last_BH = x_TBD, jnp.zeros(())
        for layer, width in enumerate(self.widths):
            x_TBD = h_TBH
            keys_B = folded(regularise, layer).keys_B
            rate = self.dropout if layer else self.dropout_in
            if rate and keys_B is not None:
                parts = 2 if layer and self.bidirectional and self.merge == "concat" else 1
                x_TBD = dropout(h_TBH, rate, keys_B, parts, locked=self.locked)
            outputs, finals = [], []
            for direction, reverse in enumerate((False, True)[: 1 + self.bidirectional]):
                name = f"layer_{layer}{'_reverse' if reverse else ''}"
                place = len(self.widths) * (1 + direction) + layer
                params, inputs, masks = self._regularised(
                    self.param(name, self._init, x_TBD.shape[-1], width),
                    x_TBD,
                    folded(regularise, place),
                )
                output, final, *traced = unroll(
                    self.spec,
                    params,
                    inputs,
                    None
                    if states is None
                    else self._begin(params, inputs, states[layer][direction], fresh),
                    lengths=lengths,
                    resets=resets,
                    reverse=reverse,
                    noise=masks,
                    trace=EVERYTHING if self.trace else (),
                    backend=self.backend,
                )
                if self.trace:
                    self.sow("traces", name, *traced)
                outputs.append(output)
                finals.append(final)
            added = self.residual and layer > 0
            output, last = (
                merge_directions(h, self.merge) for h in (outputs, [s.h for s in finals])
            )
            h_TBH = output + h_TBH if added else output
            last_BH = last + last_BH if added else last
            final_states.append(tuple(finals))
        return (h_TBH if self.return_sequences else last_BH), tuple(final_states)

    def _begin(self, params: Any, x_TBD: jax.Array, state: State, fresh: jax.Array | None) -> State:
        """Returns the state to start from."""
        if fresh is None:
            return state
        zx = self.spec.cell.project(self.spec, params, x_TBD[0])
        zero = self.spec.cell.initial(self.spec, params, zx, x_TBD.dtype)
        return jax.tree.map(lambda z, carried: jnp.where(fresh, z, carried), zero, state)

    def _init(self, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
        return self.spec.cell.init(self.spec, key, D, H)

    def _regularised(
        self, params: Any, x_TBD: jax.Array, regularise: Regularise
    ) -> tuple[Any, jax.Array, noise.Noise | None]:
        """Returns a direction's parameters, inputs and noise, in training or in evaluation."""
        rates = {**noise.default_rates(self.spec), **regularise.rates}
        if regularise.key is None or regularise.keys_B is None:
            return params, x_TBD, noise.expected(self.spec, rates)
        params = noise.drop_weights(rates, regularise.key, params)
        masks = noise.draw(self.spec, rates, regularise.keys_B, params, x_TBD.shape[0])
        return params, noise.drop_inputs(rates, regularise.keys_B, x_TBD), masks
