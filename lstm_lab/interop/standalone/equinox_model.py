"""A recurrent network in Equinox: embedding, recurrent cells over time, and a dense head.

    model = load(folder)
    logits, states = jax.vmap(model)(x, lengths)

`load` reads `model.json` (the settings) and `model.eqx` (the weights) of the folder that holds this
file. As all modules of Equinox, the model takes one example; `jax.vmap` makes it a batch.
"""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp


class EquinoxModel(eqx.Module):
    """Embedding or one-hot tokens, recurrent cells, dense head.

    Attributes:
      embed: the embedding, or None.
      cells: by layer, then by direction.
      head: the dense head.
      vocabulary: number of symbols, or None if inputs are vectors.
      merge: how both directions are joined: concat, sum, mean or product.
      residual: whether each layer from the second on adds its input to its output.
      every_step: whether there is an output for each step, or one for the last real step.
      subtract_last: whether the last real vector is subtracted from all inputs.
    """

    embed: eqx.nn.Embedding | None
    cells: list[list[eqx.Module]]
    head: eqx.nn.Linear
    vocabulary: int | None = eqx.field(static=True)
    merge: str = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    every_step: bool = eqx.field(static=True)
    subtract_last: bool = eqx.field(static=True)

    def __call__(self, x, length=None, states=None):
        """Computes logits and final states of one sequence.

        Args:
          x: tokens [T] or vectors [T,D].
          length: number of real steps, or None if all are real.
          states: initial states by layer and direction, or None for zeros.

        Returns:
          Logits [T,C] or [C], and the states after the last real step.
        """
        length = len(x) if length is None else length
        is_real = jnp.arange(len(x)) < length
        h, last, finals = self._inputs(x, length), 0.0, []
        for number, directions in enumerate(self.cells):
            outputs, ends = [], []
            for direction, cell in enumerate(directions):
                start = zero_state(cell) if states is None else states[number][direction]
                end, output = run_cell(cell, h, is_real, start, reverse=direction == 1)
                outputs.append(output)
                ends.append(end)
            residual = self.residual and number > 0
            last = self._merge([hidden(end) for end in ends]) + (last if residual else 0.0)
            h = self._merge(outputs) + (h if residual else 0.0)
            finals.append(tuple(ends))
        logits = jax.vmap(self.head)(h) if self.every_step else self.head(last)
        return logits, tuple(finals)

    def _inputs(self, x, length):
        if self.embed is not None:
            return jax.vmap(self.embed)(x)
        if self.vocabulary is not None:
            return jax.nn.one_hot(x, self.vocabulary)
        return x - x[jnp.maximum(length - 1, 0)] if self.subtract_last else x

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


def run_cell(cell, x, is_real, state, *, reverse):
    """Returns the final state of a cell and its outputs [T,H]; padding leaves the state alone."""

    def step(state, inputs):
        x, is_real = inputs
        new = jax.tree.map(lambda new, old: jnp.where(is_real, new, old), cell(x, state), state)
        return new, jnp.where(is_real, hidden(new), 0.0)

    return jax.lax.scan(step, state, (x, is_real), reverse=reverse)


def zero_state(cell):
    """Returns the state that a cell starts from: (h, c) of an LSTM, h of a GRU."""
    if isinstance(cell, eqx.nn.LSTMCell):
        return jnp.zeros(cell.hidden_size), jnp.zeros(cell.hidden_size)
    if isinstance(cell, eqx.nn.GRUCell):
        return jnp.zeros(cell.hidden_size)
    return tuple(jnp.zeros(size) for size in cell.state_sizes)


def hidden(state):
    """Returns h of a state."""
    return state[0] if isinstance(state, tuple) else state


def build(settings, cell_class=None):
    """Returns the module with random weights.

    Args:
      settings: the content of `model.json`.
      cell_class: the class of `cell.py`, for a cell that Equinox lacks.
    """
    keys = iter(jax.random.split(jax.random.key(0), 2 + 2 * len(settings["layers"])))

    def cell(layer):
        match settings["cell"]:
            case "lstm":
                return eqx.nn.LSTMCell(layer["inputs"], layer["units"], key=next(keys))
            case "gru":
                return eqx.nn.GRUCell(layer["inputs"], layer["units"], key=next(keys))
            case _:
                return cell_class(layer["shapes"], layer["state_sizes"], key=next(keys))

    vocabulary, embedding = settings["vocabulary"], settings["embedding"]
    return EquinoxModel(
        embed=eqx.nn.Embedding(vocabulary, embedding, key=next(keys)) if embedding else None,
        cells=[[cell(layer) for layer in directions] for directions in settings["layers"]],
        head=eqx.nn.Linear(settings["features"], settings["outputs"], key=next(keys)),
        vocabulary=vocabulary,
        merge=settings["merge"],
        residual=settings["residual"],
        every_step=settings["every_step"],
        subtract_last=settings["subtract_last"],
    )


def load(folder=Path(__file__).parent):
    """Returns the trained module.

    Args:
      folder: the folder of an export.
    """
    folder = Path(folder)
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    cell_class = None
    if settings["cell"] == "equations":
        from cell import EquinoxEquationCell

        cell_class = EquinoxEquationCell
    return eqx.tree_deserialise_leaves(folder / "model.eqx", build(settings, cell_class))
