"""A recurrent cell that Keras lacks, written from the equations that were trained.

Import this file before `keras.saving.load_model` reads a model with the cell. `step` holds the
equations; the class owns the weights by their names in them.
"""

import keras
from keras import ops

NAME = "cell"


def normalize(z):
    """Computes (z - mean) / sqrt(variance + 1e-5) over the last axis."""
    z = z - ops.mean(z, axis=-1, keepdims=True)
    return z / ops.sqrt(ops.mean(ops.square(z), axis=-1, keepdims=True) + 1e-5)


def step(w, x, state):
    """Computes one time step; an export writes the equations of its cell here."""
    raise NotImplementedError


@keras.saving.register_keras_serializable(package="lstm_lab", name=NAME)
class KerasEquationCell(keras.layers.Layer):
    """A cell for `keras.layers.RNN`.

    Args:
      shapes: the shapes of its weights by name.
      state_size: widths of the vectors of its state; the first is the output h.
    """

    def __init__(self, shapes, state_size, **kwargs):
        super().__init__(**kwargs)
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.state_size = list(state_size)
        self.output_size = self.state_size[0]

    def build(self, input_shape):
        """Creates the weights."""
        self.named = {
            name: self.add_weight(shape=shape, initializer="glorot_uniform", name=name)
            for name, shape in self.shapes.items()
        }
        self.built = True

    def call(self, inputs, states, training=False):
        """Returns the output h of a time step and the new state."""
        weights = {name: ops.convert_to_tensor(weight) for name, weight in self.named.items()}
        new = step(weights, inputs, states)
        return new[0], list(new)

    def get_config(self):
        """Returns what a saved model holds of the cell."""
        return {
            **super().get_config(),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "state_size": self.state_size,
        }
