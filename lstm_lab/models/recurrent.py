"""The recurrent stack as a Flax module: layers of one cell, in one direction or both.

`LSTM` maps inputs [T,B,D] and initial states to outputs [T,B,H] and final states. It owns the
parameters of all cells, draws dropout and noise masks, and calls `recurrence.unroll` once per layer
and direction. On NVIDIA's GPUs a plain LSTM takes one cuDNN call for the whole stack instead.
`sequence_model.py` and `encoder_decoder.py` put embeddings and heads around this stack; the next
file to read is `recurrence/unroll.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from lstm_lab.cells import masks
from lstm_lab.cells.cell import GateValue, Params, Spec, State, check_spec, zero_state
from lstm_lab.config.sections import Merge
from lstm_lab.models.regularization import Regularization, dropout, fold_in
from lstm_lab.recurrence import (
    EVERYTHING,
    Backend,
    CallSignature,
    DeviceType,
    batched_members,
    resolve,
    unroll,
)
from lstm_lab.recurrence.backends import cudnn
from lstm_lab.recurrence.dispatch import unusual_dtype
from lstm_lab.recurrence.steps import check_state, hide_padding

States = tuple[tuple[State, ...], ...]  # by layer, then by direction
InitialStates = Sequence[Sequence[State | None]]  # None stands for the zero state


def merge_directions(outputs: Sequence[jax.Array], merge: Merge) -> jax.Array:
    """Joins the outputs of one or two directions into one array [...,H] or [...,2H]."""
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


def parameter_name(layer: int, reverse: bool) -> str:
    """Returns the Flax name of the parameters of one layer and direction."""
    return f"layer_{layer}{'_reverse' if reverse else ''}"


class LSTM(nn.Module):
    """Stacked layers of one cell, optionally bidirectional, time-major.

    Layer l reads the outputs of layer l - 1 after dropout:

        h^l = merge(unroll(dropout(h^{l-1})), reversed unroll(dropout(h^{l-1}))) [+ h^{l-1}]

    The parameters of layer l are named `layer_l`, those of its backward direction
    `layer_l_reverse`.

    Example:
      >>> stack = LSTM(get_variant("lstm").spec, hidden_sizes=(128, 128), bidirectional=True)
      >>> variables = stack.init(jax.random.key(0), x_TBD)
      >>> h_TBH, final_states = stack.apply(variables, x_TBD, lengths=lengths)
      >>> key = jax.random.key(1)  # of a training step with dropout, and one for each sequence:
      >>> step = Regularization({}, key, jax.random.split(key, x_TBD.shape[1]))
      >>> h_TBH, final_states = stack.apply(variables, x_TBD, regularization=step)

    Attributes:
      spec: the variant of the cell.
      hidden_sizes: number of hidden units of each layer.
      bidirectional: whether each layer also reads the sequence backwards.
      merge: how the outputs of the two directions are joined.
      dropout: dropout rate between layers.
      dropout_in: dropout rate on the inputs of the first layer.
      locked: whether all time steps of a sequence share one dropout mask.
      residual: whether each layer from the second on adds its input to its output.
      return_sequences: whether to return the outputs of all steps, or of the last one only.
      backend: as in `recurrence.unroll`.
      trace: whether to store gates and states of all steps in the collection `traces`.
      clamp: constants that replace gates, by the name of a layer's parameters and by gate.
      rates: rates of the cell's regularization, for calls whose `regularization` has none. A rate
        in neither is that of the variant's paper. Zoneout has an effect in evaluation, too.
      device: the type of device for which the program is built, as in `recurrence.unroll`.
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
    clamp: Mapping[str, Mapping[str, GateValue]] = FrozenDict()
    rates: Mapping[str, float] = FrozenDict()
    device: DeviceType | None = None

    def __post_init__(self) -> None:
        check_spec(self.spec)
        if not isinstance(self.trace, bool):
            raise TypeError(f"trace: got {self.trace!r}, expected True or False")
        super().__post_init__()

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
        """Runs all layers over a batch of sequences.

        Args:
          x_TBD: inputs [T,B,D]; their dtype is the compute dtype.
          states: initial states by layer and direction; None stands for zero states.
          lengths: number of real steps of each row [B], or None if all rows have T.
          resets: bool [T,B], true where a new segment starts, or None.
          is_start: bool scalar, true to ignore `states` and start from zero; None means false.
          regularization: rates and keys; None means evaluation at `rates`.

        Returns:
          Outputs [T,B,H], or [B,H] of the last step without `return_sequences`, and the final
          states. H doubles when two directions are concatenated.

        Raises:
          ValueError: for inputs that are not floating [T,B,D] with T of 1 or more; for states,
            `lengths` or `resets` of another shape; for an unknown backend, or one that does not
            support the call; for a clamped gate that the cell lacks; for a key of dropout in
            `rngs` without `regularization`.
          flax.errors.ScopeParamShapeError: for inputs of another D than that of the parameters.
        """
        if regularization is None and self.has_rng("dropout") and not self.is_initializing():
            # Flax's own dropout reads this key; here it would change nothing.
            raise ValueError(
                "rngs: got dropout, expected regularization=Regularization({}, key, keys_B)"
            )
        self._check_call(x_TBD, states)
        regularization = regularization or Regularization({})
        initial: InitialStates = states or ((None,) * len(self._directions),) * len(
            self.hidden_sizes
        )
        if self._uses_cudnn(x_TBD, initial, resets):
            return self._call_cudnn(x_TBD, initial, lengths, is_start, regularization)
        h_TBH, last_BH = x_TBD, jnp.zeros(())
        final_states: list[tuple[State, ...]] = []
        # This loop calls `unroll` directly. A helper for one layer would add a Flax frame to every
        # stack trace between a user's cell and the training loop.
        for layer, units in enumerate(self.hidden_sizes):
            input_TBD = self._drop_inputs(h_TBH, layer, regularization)
            outputs, finals = [], []
            for direction, reverse in enumerate(self._directions):
                name = parameter_name(layer, reverse)
                # Keys of dropout on inputs use the layer's number; those of cells follow after.
                key_index = len(self.hidden_sizes) * (1 + direction) + layer
                params, cell_input_TBD, noise = self._regularize(
                    self.param(name, self._init, input_TBD.shape[-1], units),
                    input_TBD,
                    fold_in(regularization, key_index),
                )
                state = initial[layer][direction]
                output, final, traced = unroll(
                    self.spec,
                    params,
                    cell_input_TBD,
                    # The zero state may depend on the inputs: `unroll` makes it after it has
                    # hidden the padding.
                    None
                    if state is None
                    else self._initial_state(params, cell_input_TBD, state, is_start),
                    lengths=lengths,
                    resets=resets,
                    reverse=reverse,
                    noise=noise,
                    trace=EVERYTHING if self.trace else (),
                    clamp=self.clamp.get(name),
                    backend=self.backend,
                    device=self.device,
                )
                if self.trace:
                    self.sow("traces", name, traced)
                outputs.append(output)
                finals.append(final)
            h_TBH, last_BH = self._combine(layer, outputs, finals, h_TBH, last_BH)
            final_states.append(tuple(finals))
        return (h_TBH if self.return_sequences else last_BH), tuple(final_states)

    def _check_call(self, x_TBD: jax.Array, states: States | None) -> None:
        if x_TBD.ndim != 3:
            raise ValueError(f"x_TBD: got shape {x_TBD.shape}, expected [T,B,D]")
        if states is None:
            return
        expected = [len(self._directions)] * len(self.hidden_sizes)
        found = [len(layer) for layer in states]
        if found != expected:
            raise ValueError(
                f"states: got {found} states by layer, expected {expected}, one for each direction"
            )

    def call_signatures(self, first: CallSignature) -> list[CallSignature]:
        """Returns the backend call of each layer, given the call of the first one."""
        features = (first.D, *(self._parts * units for units in self.hidden_sizes))
        noise = masks.is_drawn(self.spec)
        return [
            first._replace(D=D, H=H, noise=noise)
            for D, H in zip(features, self.hidden_sizes, strict=False)
        ]

    @property
    def _directions(self) -> tuple[bool, ...]:
        """For each direction whether it is the reverse one."""
        return (False, True)[: 1 + self.bidirectional]

    @property
    def _parts(self) -> int:
        """The number of directions that are concatenated in a layer's output."""
        return 2 if self.bidirectional and self.merge == "concat" else 1

    def _init(self, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
        return self.spec.cell.init(self.spec, key, D, H)

    def _drop_inputs(
        self, x_TBD: jax.Array, layer: int, regularization: Regularization
    ) -> jax.Array:
        """Returns the inputs of a layer after dropout."""
        keys_B = fold_in(regularization, layer).keys_B
        rate = self.dropout if layer else self.dropout_in
        if not rate or keys_B is None:
            return x_TBD
        parts = self._parts if layer else 1
        return dropout(x_TBD, rate, keys_B, parts, locked=self.locked)

    def _regularize(
        self, params: Params, x_TBD: jax.Array, regularization: Regularization
    ) -> tuple[Params, jax.Array, masks.Noise | None]:
        """Returns the parameters, inputs and noise of a cell, in training or in evaluation."""
        rates = {**masks.default_rates(self.spec), **self.rates, **regularization.rates}
        if regularization.key is None or regularization.keys_B is None:
            return params, x_TBD, masks.expected(self.spec, rates)
        params = masks.drop_weights(rates, regularization.key, params)
        noise = masks.draw(self.spec, rates, regularization.keys_B, params, x_TBD.shape[0])
        keys_B = regularization.keys_B
        return *masks.drop_inputs(self.spec, rates, keys_B, params, x_TBD), noise

    def _initial_state(
        self, params: Params, x_TBD: jax.Array, state: State | None, is_start: jax.Array | None
    ) -> State:
        """Returns `state`, or the zero state if there is none or if `is_start` is true."""
        if state is None:
            return zero_state(self.spec, params, x_TBD[0])
        if is_start is None:
            check_state(state, jax.eval_shape(partial(zero_state, self.spec), params, x_TBD[0]))
            return state
        zero = zero_state(self.spec, params, x_TBD[0])
        # `where` below would broadcast a state of one row.
        check_state(state, zero)
        # `where` rather than `cond`: `is_start` is traced, and both branches cost little.
        return jax.tree.map(partial(jnp.where, is_start), zero, state)

    def _combine(
        self,
        layer: int,
        outputs: Sequence[jax.Array],
        finals: Sequence[State],
        h_TBH: jax.Array,
        last_BH: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Merges the directions of a layer and adds its input if the stack is residual.

        Args:
          layer: number of the layer.
          outputs, finals: outputs [T,B,H] and final state of each direction.
          h_TBH, last_BH: outputs of the layer below, at all steps and at the last one.

        Returns:
          Outputs of this layer at all steps, and at the last one.
        """
        output_TBH = merge_directions(outputs, self.merge)
        output_BH = merge_directions([state.h for state in finals], self.merge)
        if self.residual and layer > 0:
            return output_TBH + h_TBH, output_BH + last_BH
        return output_TBH, output_BH

    # ---- the whole stack in one cuDNN call

    def _uses_cudnn(
        self, x_TBD: jax.Array, initial: InitialStates, resets: jax.Array | None
    ) -> bool:
        """Returns whether cuDNN serves every layer."""
        if self.backend not in ("auto", "cudnn") or self.clamp:
            return False
        _, B, D = x_TBD.shape
        # Absent while they are drawn, which is in float32.
        names = [
            parameter_name(layer, reverse)
            for layer in range(len(self.hidden_sizes))
            for reverse in self._directions
        ]
        params: dict[str, Params] = {
            n: self.get_variable("params", n) for n in names if self.has_variable("params", n)
        }
        first = CallSignature(
            self.spec,
            x_TBD.dtype,
            B,
            D,
            trace=self.trace,
            resets=resets is not None,
            members=batched_members(),
            device=self.device,
            unusual_dtype=unusual_dtype(x_TBD.dtype, params, initial),
        )
        calls = self.call_signatures(first)
        return all(resolve(self.backend, call) == "cudnn" for call in calls)

    def _cudnn_groups(self, regularization: Regularization) -> list[range]:
        """Returns the layers of each cuDNN call.

        One call computes several layers only if each reads exactly the output of the one below:
        equal sizes, concatenated directions, no residual connection, and no dropout in between.
        JAX calls cuDNN's own dropout with the same seed at every training step, so dropout
        between layers is computed here.
        """
        layers = len(self.hidden_sizes)
        has_dropout = self.dropout > 0 and regularization.keys_B is not None
        same_size = len(set(self.hidden_sizes)) == 1
        merged = self.bidirectional and self.merge != "concat"
        if same_size and not has_dropout and not self.residual and not merged:
            return [range(layers)]
        return [range(layer, layer + 1) for layer in range(layers)]

    def _call_cudnn(
        self,
        x_TBD: jax.Array,
        initial: InitialStates,
        lengths: jax.Array | None,
        is_start: jax.Array | None,
        regularization: Regularization,
    ) -> tuple[jax.Array, States]:
        """Runs the stack as `__call__` does, with as few cuDNN calls as possible."""
        h_TBH, last_BH = x_TBD, jnp.zeros(())
        final_states: list[tuple[State, ...]] = []
        for layers in self._cudnn_groups(regularization):
            input_TBD = self._drop_inputs(h_TBH, layers[0], regularization)
            # cuDNN reads padding, so it must hold zeros.
            real_TBD, _ = hide_padding(input_TBD, lengths)
            params: list[list[Params]] = []
            states: list[list[State]] = []
            D = input_TBD.shape[-1]
            for layer in layers:
                units = self.hidden_sizes[layer]
                names = [parameter_name(layer, reverse) for reverse in self._directions]
                params.append([self.param(name, self._init, D, units) for name in names])
                # The zero state of a plain LSTM needs only B and H, so that the first layer's
                # parameters serve for all layers of the group.
                states.append(
                    [
                        self._initial_state(params[0][0], real_TBD, state, is_start)
                        for state in initial[layer]
                    ]
                )
                D = self._parts * units
            stacked_TBH, finals = cudnn.unroll_stack(params, real_TBD, states, lengths)
            outputs = jnp.split(stacked_TBH, len(self._directions), -1)
            h_TBH, last_BH = self._combine(layers[0], outputs, finals[-1], h_TBH, last_BH)
            final_states += finals
        return (h_TBH if self.return_sequences else last_BH), tuple(final_states)
