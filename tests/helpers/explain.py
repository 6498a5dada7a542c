"""Trained networks whose mechanism is known, because their weights are set by hand."""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import numpy as np

from lstm_lab.explain.network import Visited
from lstm_lab.inference.load import Trained
from lstm_lab.tasks import IGNORE_INDEX, Bernoulli, Categorical, Dataset, Examples, Task, Tokens
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.training import small_spec

# No kernel has to be compiled for it.
SCAN = {"compute": {"backend": "scan"}}
I, F, O, G = range(4)  # noqa: E741  # the order of gates


def shapes_of(spec):
    """Returns the shapes of a run's parameters; drawing them would compile a program."""
    return jax.eval_shape(TrainStep(spec, 1).init, member_of(spec, 1)).params


def zero_params(spec):
    """Returns parameters that are all zero, as host arrays."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes_of(spec))


def random_params(spec, scale=0.5):
    """Returns parameters with every entry non-zero, as host arrays."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: (scale * rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes_of(spec)
    )


def trained(spec, params=None):
    """Returns a run as `inference.load.load_run` does, by default with random parameters."""
    return Trained(spec, random_params(spec) if params is None else params, {})


def parity_network():
    """Returns a multiplicative LSTM of one unit whose state is -1 or 1 and changes at every 1.

    c = tanh(3 m + b), m = h' for the symbol 0 and -h' for 1. The small b decides the first step.
    """
    task = {"name": "parity", "length": 12, "valid_size": 40, "test_size": 2}
    spec = small_spec(task=task, model={"cell": "multiplicative", "hidden": 1}, **SCAN)
    spec = replace(spec, task=replace(spec.task, test_length=None))
    params = zero_params(spec)
    cell, head = params["lstm"]["layer_0"], params["head"]
    cell["b"][[I, F, O, G], 0] = 10.0, -10.0, 10.0, -0.3
    cell["wx"][1, G, 0] = 0.6
    cell["wh"][0, G, 0] = 3.0
    cell["wm_x"][:, 0] = 1.0, -1.0
    cell["wm_h"][0, 0] = 1.0
    head["kernel"][0, 0] = 20.0
    return trained(spec, params)


def adding_network(units=3):
    """Returns an LSTM whose first unit adds a tenth of each marked number; the others do little."""
    task = {"name": "adding", "length": 20, "valid_size": 40, "test_size": 2}
    spec = small_spec(task=task, model={"cell": "lstm", "hidden": units}, **SCAN)
    params = zero_params(spec)
    cell, head = params["lstm"]["layer_0"], params["head"]
    cell["wx"][0, G, 0], cell["wx"][1, I, 0] = 0.1, 20.0
    cell["b"][[I, F, O], 0] = -10.0, 15.0, 15.0
    # Units that follow the number of the step, and forget it.
    cell["wx"][0, G, 1:], cell["b"][F, 1:] = 0.5, -3.0
    head["kernel"][0, 0] = 10.0
    return trained(spec, params)


@dataclass(frozen=True)
class BagOfWords(Task):
    """Whether the values of the words of a text, -1, 0, 0 or 1, have a positive sum."""

    name: ClassVar[str] = "bag_of_words"
    inputs: ClassVar[Tokens] = Tokens(4)
    target: ClassVar[Bernoulli] = Bernoulli(1)
    metric: ClassVar[str] = "nll"

    def load(self, data_dir):
        values, rng = np.array([-1, 0, 0, 1]), np.random.default_rng(0)
        x_NT = rng.integers(0, 4, (48, 25)).astype(np.int32)
        y_N1 = (values[x_NT].sum(1, keepdims=True) > 0).astype(np.float32)
        return Dataset({"valid": Examples(x_NT, y_N1)})


def sentiment_network():
    """Returns an LSTM that adds the values of words along one direction of all its three units."""
    spec = replace(small_spec(model={"cell": "lstm", "hidden": 3}, **SCAN), task=BagOfWords())
    params = zero_params(spec)
    cell, head = params["lstm"]["layer_0"], params["head"]
    cell["wx"][[0, 3], G] = 0.1 * np.array([[-1.0, -0.5, 0.2], [1.0, 0.5, -0.2]])
    cell["b"][[I, F, O]] = np.array([[10.0], [12.0], [10.0]])
    head["kernel"][:, 0] = 5.0, 2.0, -1.0
    return trained(spec, params)


@dataclass(frozen=True)
class FirstSymbol(Task):
    """The first symbol of a sequence, asked for at some of its steps."""

    lengths: tuple[int, ...]
    asked: tuple[tuple[int, ...], ...]
    padded: int

    name: ClassVar[str] = "first_symbol"
    inputs: ClassVar[Tokens] = Tokens(3)
    target: ClassVar[Categorical] = Categorical(3, every_step=True)
    metric: ClassVar[str] = "nll"

    def load(self, data_dir):
        N = len(self.lengths)
        x_NT = np.random.default_rng(0).integers(0, 3, (N, self.padded)).astype(np.int32)
        y_NT = np.full_like(x_NT, IGNORE_INDEX)
        for x_T, y_T, steps in zip(x_NT, y_NT, self.asked, strict=True):
            y_T[list(steps)] = x_T[0]
        return Dataset({"valid": Examples(x_NT, y_NT, np.array(self.lengths, np.int32))})


def first_symbol_network(lengths, asked, padded=40, **model):
    """Returns an LSTM with random weights, and sequences with targets at some steps."""
    spec = small_spec(model={"cell": "lstm", "hidden": 2, **model}, **SCAN)
    return trained(replace(spec, task=FirstSymbol(lengths, asked, padded)))


def visited(lengths, asked, padded=40):
    """Returns the same sequences as a network sees them, with numbers of steps as inputs."""
    task = FirstSymbol(lengths, asked, padded)
    examples = task.load(None).splits["valid"]
    is_real_BT = np.arange(padded)[None] < np.array(lengths)[:, None]
    x_BT1 = np.broadcast_to(np.arange(float(padded))[None, :, None], (len(lengths), padded, 1))
    return Visited(examples, x_BT1, x_BT1, x_BT1, is_real_BT)


def valid_split(run):
    """Returns the validation examples of a run."""
    return run.spec.task.load(None).splits["valid"]
