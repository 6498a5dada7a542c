"""What a split holds: examples, or a stream.

Examples are stored as arrays (`Examples`), or gathered from raw arrays when a batch needs them:
overlapping `Windows` of a series, and `Sequences` of different length. A `Stream` is read in order.
All of them are pytrees, so that compiled functions take them as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = Any  # numpy on the host, jax on the device

# The class of a step without a target. The step counts in no loss and no metric, as `ignore_index`
# of PyTorch's cross-entropy.
IGNORE_INDEX = -1


class Stored(Protocol):
    """The examples of a split, however they are kept.

    Example:
      split: Stored = dataset.splits["train"]
      split.rows, split.steps  # (1167, 8)
      split.take(np.array([4, 1])).x.shape  # (2, 8, 8)
    """

    @property
    def rows(self) -> int:
        """Number of examples."""

    @property
    def steps(self) -> int:
        """Number of time steps of an example, with its padding."""

    @property
    def lengths(self) -> Array | None:
        """Number of real steps of each example, int32, or None if all have `steps`."""

    def take(self, indices: Array) -> Examples:
        """Returns the examples of some indices [B], on the host or in a compiled function."""

    def targets(self, *, every_step: bool) -> np.ndarray:
        """Returns all targets on the host, one row per prediction: [P] or [P,C].

        Args:
          every_step: whether each step has a target; padding and classes of IGNORE_INDEX are then
            left out.
        """


class SourceTokens(NamedTuple):
    """The sentences that an encoder reads, such as the sentences to translate.

    Attributes:
      tokens: [N,S], int32.
      lengths: number of real tokens of each sentence [N], int32.

    Example:
      SourceTokens(tokens=np.array([[4, 7, 2], [5, 2, 0]]), lengths=np.array([3, 2]))
    """

    tokens: Array
    lengths: Array


class Examples(NamedTuple):
    """Sequences with their targets; the first axis of every array is the example.

    Attributes:
      x: inputs, tokens [N,T] or vectors [N,T,D].
      y: targets, as the task's `target` says. Targets in the padding do not count, and neither do
        classes of IGNORE_INDEX at a step.
      lengths: number of real steps of each sequence [N], int32, or None if all have T.
      weights: weight of each sequence in the loss [N], float32, or None if all weigh the same.
      source: the source sentences of a translation, or None.

    Example:
      x_NTD = np.zeros((3, 20, 2), np.float32)
      Examples(x_NTD, y=np.array([0, 2, 1]), lengths=np.array([20, 5, 12]))
    """

    x: Array
    y: Array
    # None rather than an array full of T: the model then computes no masks.
    lengths: Array | None = None
    weights: Array | None = None
    source: SourceTokens | None = None

    @property
    def rows(self) -> int:
        """Number of examples."""
        return int(self.x.shape[0])

    @property
    def steps(self) -> int:
        """Number of time steps of an example, with its padding."""
        return int(self.x.shape[1])

    def take(self, indices: Array) -> Examples:
        """Returns the examples of some indices [B]."""
        chosen: Examples = jax.tree.map(lambda array: array[indices], self)
        return chosen

    def targets(self, *, every_step: bool) -> np.ndarray:
        """Returns all targets, one row per prediction; see `Stored`."""
        y = np.asarray(self.y)
        if not every_step:
            return y
        counted = np.ones(y.shape[:2], bool)
        if self.lengths is not None:
            # Padding is stored as zeros, which would count as class 0 or as silence.
            counted = np.arange(y.shape[1])[None] < np.asarray(self.lengths)[:, None]
        # Only classes have no axis of numbers.
        if y.ndim == 2:
            counted &= y != IGNORE_INDEX
        return y[counted]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """Windows of a series that may overlap, each with the values that follow it.

    Attributes:
      values: the series [P,D], float32.
      starts: the first row of each window [N], int32.
      context: number of rows that the model reads.
      horizon: number of rows after them that it forecasts.
      columns: the columns that it forecasts.
      relative: whether targets are differences to the last row of the context.

    Example:
      starts = np.array([0, 1])
      windows = Windows(np.arange(10.0)[:, None], starts, context=6, horizon=3, columns=(0,))
      windows.take(np.array([1])).y  # [[7, 8, 9]]
    """

    values: Array
    starts: Array
    # Static: these numbers set the shapes of compiled arrays, so they cannot be traced.
    context: int = field(metadata={"static": True})
    horizon: int = field(metadata={"static": True})
    columns: tuple[int, ...] = field(metadata={"static": True})
    relative: bool = field(default=False, metadata={"static": True})

    @property
    def rows(self) -> int:
        """Number of windows."""
        return int(self.starts.shape[0])

    @property
    def steps(self) -> int:
        """Number of time steps of a window."""
        return self.context

    @property
    def lengths(self) -> None:
        """None: all windows have the same length."""
        return None

    def take(self, indices: Array) -> Examples:
        """Returns the windows of some indices [B]."""
        starts_B1 = self.starts[indices][:, None]
        x_BTD = self.values[starts_B1 + np.arange(self.context)[None]]
        after_BH = starts_B1 + self.context + np.arange(self.horizon)[None]
        y_BHK = self.values[after_BH][:, :, np.array(self.columns)]
        if self.relative:
            y_BHK = y_BHK - x_BTD[:, -1:, np.array(self.columns)]
        return Examples(x_BTD, y_BHK.reshape(y_BHK.shape[0], -1))

    def step(self, index: int) -> np.ndarray:
        """Returns one step of all windows [N,D], counted from the first of the context.

        Baselines need few steps, and so no copies of windows.
        """
        return np.asarray(self.values)[np.asarray(self.starts) + index]

    def targets(self, *, every_step: bool = False) -> np.ndarray:
        """Returns all targets [N,C]; a window has no target at its steps."""
        assert not every_step
        steps = range(self.context, self.context + self.horizon)
        y_NHK = np.stack([self.step(t)[:, self.columns] for t in steps], 1)
        if self.relative:
            y_NHK = y_NHK - self.step(self.context - 1)[:, None, self.columns]
        return y_NHK.reshape(len(y_NHK), -1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sequences:
    """Sequences of different length, each of which predicts its own next step.

    They lie one after another in one array, and are padded only in a batch.

    Attributes:
      values: all steps of all sequences [P,D], in any number type; whole numbers from 0 to 255 take
        one byte each.
      starts: the place of the first step of each sequence [N], int32.
      lengths: number of predictions of each sequence, one less than its steps [N], int32.
      steps: number of predictions of the longest sequence.

    Example:
      notes = np.eye(4, dtype=np.uint8)
      pieces = Sequences.of([notes[:3], notes])
      pieces.take(np.array([0])).y  # the second and the third step, and one step of padding
    """

    values: Array
    starts: Array
    lengths: Array
    steps: int = field(metadata={"static": True})

    @classmethod
    def of(cls, sequences: list[np.ndarray]) -> Sequences:
        """Puts sequences [T,D] of two steps or more one after another.

        Args:
          sequences: the sequences; the first step of each is only read.
        """
        sizes = np.array([len(sequence) for sequence in sequences], np.int32)
        starts = np.cumsum(sizes, dtype=np.int32) - sizes
        return cls(np.concatenate(sequences), starts, sizes - 1, int(sizes.max()) - 1)

    @property
    def rows(self) -> int:
        """Number of sequences."""
        return int(self.starts.shape[0])

    def take(self, indices: Array) -> Examples:
        """Returns the sequences of some indices [B], padded with zeros, float32."""
        lengths_B = self.lengths[indices]
        step_1T = np.arange(self.steps)[None]
        real_BT = step_1T < lengths_B[:, None]
        # Padding is moved to a place that exists, and then set to zero.
        places_BT = self.starts[indices][:, None] + step_1T * real_BT
        # A product, since `where` would exist twice: for arrays of the host and of a device.
        x, y = (self.values[p] * real_BT[..., None] for p in (places_BT, places_BT + 1))
        return Examples(x.astype(np.float32), y.astype(np.float32), lengths_B)

    def targets(self, *, every_step: bool = True) -> np.ndarray:
        """Returns all targets [P,D], without padding."""
        assert every_step
        predicted = np.ones(len(self.values), bool)
        predicted[np.asarray(self.starts)] = False
        return np.asarray(self.values)[predicted]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stream:
    """One long sequence of symbols; the model predicts each symbol from all symbols before it.

    The sequence is cut into tracks of equal length. A batch reads all tracks at once, one per row,
    and the next batch reads the next chunk of time. The state of the model is carried from chunk to
    chunk. Symbols that are left over at the end are not read.

    Attributes:
      tokens: [N], int32.
      T: time steps of a chunk.
      tracks: number of tracks in an evaluation; in training, the batch size is this number.
      std: standard deviation of the length of training chunks around T; 0 if all have T steps.

    Example:
      stream = Stream(np.arange(101), T=5, tracks=2)
      stream.track_steps(stream.tracks)  # 50: ten chunks of five steps
    """

    tokens: Array
    # Static: these numbers set the shapes of compiled arrays, so they cannot be traced.
    T: int = field(metadata={"static": True})
    tracks: int = field(default=1, metadata={"static": True})
    std: float = field(default=0.0, metadata={"static": True})

    @property
    def shift(self) -> int:
        """The largest number of steps by which a cut between training chunks is moved."""
        # A normal number has no bound, but the longest chunk sets the padded length of a batch.
        # A cut moves by std / sqrt(2) (see `batches._cuts`), so this is about 2.1 deviations.
        return round(1.5 * self.std)

    def track_steps(self, tracks: int) -> int:
        """Returns the number of symbols that each of `tracks` equal tracks predicts."""
        # The first symbol of the stream is only read: nothing comes before it.
        return (self.tokens.shape[0] - 1) // tracks


Split = Stored | Stream
