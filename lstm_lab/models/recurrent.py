"""The recurrent stack: layers of one cell, in one direction or both, as a Flax module."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lstm_lab.cells import masks
from lstm_lab.cells.cell import Spec, State
from lstm_lab.config.sections import Merge
from lstm_lab.models.regularization import Regularization, dropout, fold_in
from lstm_lab.recurrence import EVERYTHING, Backend, CallSignature, batched_members, resolve, unroll
from lstm_lab.recurrence.backends import cudnn
from lstm_lab.recurrence.steps import hide_padding

States = tuple[tuple[State, ...], ...]
Outcome = tuple[list[jax.Array], list[tuple[State, ...]]]  # outputs by direction, states by layer
Carried = Sequence[Sequence[State | None]]


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


def _name(layer: int, reverse: bool) -> str:
    """Returns the name of a direction's parameters."""
    return f"layer_{layer}{'_reverse' if reverse else ''}"


class LSTM(nn.Module):
    """Stacked, optionally bidirectional layers of one cell, time-major.

    Attributes:
      spec: the variant.
      hidden_sizes: hidden units of each layer.
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
    hidden_sizes: tuple[int, ...]
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
        is_start: jax.Array | None = None,
        regularization: Regularization | None = None,
    ) -> tuple[jax.Array, States]:
        """Runs the stack.

        Args:
          x_TBD: inputs [T,B,D].
          states: for each layer and direction the state to start from, or None for zero.
          lengths: real steps of each row [B], or None for T.
          resets: [T,B], true where a new segment starts, or None.
          is_start: whether to start from zero instead of from `states`, a scalar, or None.
          regularization: rates and keys; None means evaluation at the variant's own rates.

        Returns:
          Outputs [T,B,H], or [B,H] of the last state without `return_sequences`; and the final
          states. H doubles when two directions are concatenated.
        """
        regularization = regularization or Regularization({})
        if self._by_cudnn(x_TBD, resets):
            between = self.dropout and regularization.keys_B is not None
            calls = self._one_by_one() if between else self._together()
            run = partial(self._stacked, lengths=lengths, is_start=is_start)
        else:
            calls = self._one_by_one()
            run = partial(
                self._layer,
                lengths=lengths,
                resets=resets,
                is_start=is_start,
                regularization=regularization,
            )
        carried = states or ((None,) * len(self._directions),) * len(self.hidden_sizes)
        final_states: list[tuple[State, ...]] = []
        h_TBH, last_BH = x_TBD, jnp.zeros(())
        for layers in calls:
            x_TBD = self._dropped(h_TBH, layers[0], regularization)
            outputs, finals = run(layers, x_TBD, carried)
            output, last = (
                merge_directions(h, self.merge) for h in (outputs, [s.h for s in finals[-1]])
            )
            added = self.residual and layers[0] > 0
            h_TBH = output + h_TBH if added else output
            last_BH = last + last_BH if added else last
            final_states += finals
        return (h_TBH if self.return_sequences else last_BH), tuple(final_states)

    @property
    def _directions(self) -> tuple[bool, ...]:
        """Whether each direction is the reverse one."""
        return (False, True)[: 1 + self.bidirectional]

    @property
    def _parts(self) -> int:
        """How many directions lie side by side in a layer's output."""
        return 2 if self.bidirectional and self.merge == "concat" else 1

    # ---- which layers one call computes

    def _by_cudnn(self, x_TBD: jax.Array, resets: jax.Array | None) -> bool:
        """Returns whether cuDNN computes every layer."""
        if self.backend not in ("auto", "cudnn"):
            return False
        _, B, D = x_TBD.shape
        first = CallSignature(
            self.spec,
            x_TBD.dtype,
            B,
            D,
            trace=self.trace,
            resets=resets is not None,
            members=batched_members(),
        )
        return all(resolve(self.backend, call) == "cudnn" for call in self.calls(first))

    def calls(self, first: CallSignature) -> list[CallSignature]:
        """Returns what each layer asks of a backend, from what the first one reads."""
        features = (first.D, *(self._parts * width for width in self.hidden_sizes))
        drawn = masks.is_drawn(self.spec)
        return [
            first._replace(D=D, H=H, noise=drawn)
            for D, H in zip(features, self.hidden_sizes, strict=False)
        ]

    def _one_by_one(self) -> list[range]:
        return [range(layer, layer + 1) for layer in range(len(self.hidden_sizes))]

    def _together(self) -> list[range]:
        """Returns all layers at once, where each reads what the one below gives and no more."""
        alike = len(set(self.hidden_sizes)) == 1 and not self.residual
        merged = self.bidirectional and self.merge != "concat"
        return [range(len(self.hidden_sizes))] if alike and not merged else self._one_by_one()

    # ---- what a call computes

    def _dropped(self, x_TBD: jax.Array, layer: int, regularization: Regularization) -> jax.Array:
        """Returns what a layer reads, after dropout."""
        keys_B = fold_in(regularization, layer).keys_B
        rate = self.dropout if layer else self.dropout_in
        if not rate or keys_B is None:
            return x_TBD
        parts = self._parts if layer else 1
        return dropout(x_TBD, rate, keys_B, parts, locked=self.locked)

    def _layer(
        self,
        layers: range,
        x_TBD: jax.Array,
        carried: Carried,
        *,
        lengths: jax.Array | None,
        resets: jax.Array | None,
        is_start: jax.Array | None,
        regularization: Regularization,
    ) -> Outcome:
        """Runs one layer, a call a direction."""
        (layer,) = layers
        outputs, finals = [], []
        for direction, reverse in enumerate(self._directions):
            name = _name(layer, reverse)
            place = len(self.hidden_sizes) * (1 + direction) + layer
            params, inputs, masks = self._regularised(
                self.param(name, self._init, x_TBD.shape[-1], self.hidden_sizes[layer]),
                x_TBD,
                fold_in(regularization, place),
            )
            state = carried[layer][direction]
            output, final, *traced = unroll(
                self.spec,
                params,
                inputs,
                # Without a state it is unroll that begins, where padding is hidden.
                None if state is None else self._begin(params, inputs, state, is_start),
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
        return outputs, [tuple(finals)]

    def _stacked(
        self,
        layers: range,
        x_TBD: jax.Array,
        carried: Carried,
        *,
        lengths: jax.Array | None,
        is_start: jax.Array | None,
    ) -> Outcome:
        """Runs layers, in both directions where there are two, as one call of cuDNN."""
        inputs, _ = hide_padding(x_TBD, lengths)
        params: list[list[Any]] = []
        begun: list[list[State]] = []
        D = x_TBD.shape[-1]
        for layer in layers:
            width = self.hidden_sizes[layer]
            names = [_name(layer, reverse) for reverse in self._directions]
            params.append([self.param(name, self._init, D, width) for name in names])
            begun.append(
                [self._begin(params[0][0], inputs, state, is_start) for state in carried[layer]]
            )
            D = self._parts * width
        h_TBH, finals = cudnn.unroll(params, inputs, begun, lengths)
        return jnp.split(h_TBH, len(self._directions), -1), finals

    def _begin(
        self, params: Any, x_TBD: jax.Array, state: State | None, is_start: jax.Array | None
    ) -> State:
        """Returns the state to start from: zero, where none is carried or a segment begins."""
        if state is not None and is_start is None:
            return state
        zx = self.spec.cell.project(self.spec, params, x_TBD[0])
        zero = self.spec.cell.initial(self.spec, params, zx, x_TBD.dtype)
        if state is None:
            return zero
        return jax.tree.map(partial(jnp.where, is_start), zero, state)

    def _init(self, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
        return self.spec.cell.init(self.spec, key, D, H)

    def _regularised(
        self, params: Any, x_TBD: jax.Array, regularization: Regularization
    ) -> tuple[Any, jax.Array, masks.Noise | None]:
        """Returns a direction's parameters, inputs and noise, in training or in evaluation."""
        rates = {**masks.default_rates(self.spec), **regularization.rates}
        if regularization.key is None or regularization.keys_B is None:
            return params, x_TBD, masks.expected(self.spec, rates)
        params = masks.drop_weights(rates, regularization.key, params)
        drawn = masks.draw(self.spec, rates, regularization.keys_B, params, x_TBD.shape[0])
        return params, masks.drop_inputs(rates, regularization.keys_B, x_TBD), drawn
