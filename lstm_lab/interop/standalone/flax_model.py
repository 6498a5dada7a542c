"""A recurrent network in Flax Linen: embedding, layers of `nn.RNN`, and a dense head.

    model, params = load(folder)
    logits, states = model.apply({"params": params}, x, lengths)

`load` reads `model.json` (the settings below) and `params.msgpack` (the weights) of the folder that
holds this file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import serialization
from flax.core import FrozenDict


class LinenModel(nn.Module):
    """Embedding or one-hot tokens, recurrent layers, dense head; batch-major.

    Attributes:
      cell: lstm, gru, rnn, or equations for the cell of `cell.py`.
      hidden_sizes: units of each layer.
      outputs: number of outputs.
      vocabulary: number of symbols, or None if inputs are vectors.
      embedding: features of a symbol, or None for one-hot.
      bidirectional: whether each layer also reads the sequence backwards.
      merge: how both directions are joined: concat, sum, mean or product.
      residual: whether each layer from the second on adds its input to its output.
      tied: whether the head reads the embedding as its kernel.
      every_step: whether there is an output for each step, or one for the last real step.
      subtract_last: whether the last real vector is subtracted from all inputs.
      cells: shapes and state sizes of each layer of `cell.py`.
    """

    cell: str
    hidden_sizes: tuple[int, ...]
    outputs: int
    vocabulary: int | None
    embedding: int | None
    bidirectional: bool
    merge: str
    residual: bool
    tied: bool
    every_step: bool
    subtract_last: bool
    cells: Mapping[str, Any] = FrozenDict()

    @nn.compact
    def __call__(self, x, lengths=None, states=None):
        """Computes logits and final states.

        Args:
          x: tokens [B,T] or vectors [B,T,D].
          lengths: number of real steps of each row [B], or None if all have T.
          states: initial carries of Flax' cells by layer and direction, or None for zeros.

        Returns:
          Logits [B,T,C] or [B,C], and the carries after the last real step of each row.
        """
        embed = None
        if self.vocabulary is not None and self.embedding is not None:
            embed = nn.Embed(self.vocabulary, self.embedding, name="embed")
        h = self._inputs(x, lengths, embed)
        last, finals = jnp.zeros(()), []
        for number, units in enumerate(self.hidden_sizes):
            outputs, carries = [], []
            for direction, suffix in enumerate(("", "_reverse")[: 1 + self.bidirectional]):
                rnn = nn.RNN(self._cell(f"layer_{number}{suffix}", units))
                start = None if states is None else states[number][direction]
                carry, output = rnn(
                    h,
                    seq_lengths=lengths,
                    initial_carry=start,
                    return_carry=True,
                    reverse=direction == 1,
                    keep_order=True,
                )
                outputs.append(output)
                carries.append(carry if lengths is None else _keep_empty(start, carry, lengths))
            residual = self.residual and number > 0
            hidden = [self._hidden(carry) for carry in carries]
            last = self._merge(hidden) + (last if residual else 0.0)
            h = self._merge(outputs) + (h if residual else 0.0)
            finals.append(tuple(carries))
        features = last
        if self.every_step:
            features = h if lengths is None else jnp.where(_is_real(x, lengths), h, 0.0)
        return self._head(features, embed), tuple(finals)

    def _inputs(self, x, lengths, embed):
        if embed is not None:
            return embed(x)
        if self.vocabulary is not None:
            return jax.nn.one_hot(x, self.vocabulary)
        if not self.subtract_last:
            return x
        if lengths is None:
            return x - x[:, -1:]
        return x - jnp.take_along_axis(x, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)

    def _cell(self, name, units):
        match self.cell:
            case "lstm":
                return nn.OptimizedLSTMCell(units, name=name)
            case "gru":
                return nn.GRUCell(units, name=name)
            case "rnn":
                return nn.SimpleCell(units, name=name)
            case _:
                from cell import LinenEquationCell

                return LinenEquationCell(**self.cells[name], name=name)

    def _hidden(self, carry):
        """Returns h of a carry: Flax has (c, h) for its LSTM, and h alone for GRU and RNN."""
        match self.cell:
            case "lstm":
                return carry[1]
            case "gru" | "rnn":
                return carry
            case _:
                return carry[0]

    def _merge(self, outputs):
        if len(outputs) == 1:
            return outputs[0]
        forward, backward = outputs
        match self.merge:
            case "concat":
                return jnp.concatenate(outputs, -1)
            case "sum":
                return forward + backward
            case "mean":
                return (forward + backward) / 2
            case _:
                return forward * backward

    def _head(self, features, embed):
        if not self.tied:
            return nn.Dense(self.outputs, name="head")(features)
        bias = self.param("bias", nn.initializers.zeros, (self.outputs,))
        return embed.attend(features) + bias.reshape((1,) * (features.ndim - 1) + (-1,))


def _is_real(x, lengths):
    return (jnp.arange(x.shape[1])[None] < lengths[:, None])[..., None]


def _keep_empty(start, carry, lengths):
    """Returns carries [B,H]; those of rows without real steps are the ones that they start from.

    `nn.RNN` would take the carry after the last step of the padding.
    """
    start = jax.tree.map(jnp.zeros_like, carry) if start is None else start
    is_empty = (lengths == 0)[:, None]
    return jax.tree.map(lambda old, new: jnp.where(is_empty, old, new), start, carry)


def load(folder=Path(__file__).parent):
    """Returns the module and its trained parameters.

    Args:
      folder: the folder of an export.
    """
    folder = Path(folder)
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    settings["hidden_sizes"] = tuple(settings["hidden_sizes"])
    params = serialization.msgpack_restore((folder / "params.msgpack").read_bytes())
    return LinenModel(**settings), params
