"""From a split to the batch of one step.

A batch is a pure function of (seed, step), so the step is the only state of the data pipeline: an
interrupted run resumes bit for bit, and no iterator has to be stored. The functions that return a
`Batch` can run inside a compiled program. Read metrics.py next: from logits to loss and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks.examples import Examples, Split, Stored, Stream
from lstm_lab.utils.errors import UserError


class Batch(NamedTuple):
    """The examples of one step.

    Attributes:
      examples: B examples.
      weight_B: 1 for an example that counts, 0 for one that only fills the batch; float32.
      rows_B: the row of each example in the whole batch, which several devices may share.
      is_start: for a stream, whether its first chunk is read, so that the state starts from zero;
        None for examples, which always start from zero.

    Example:
      batch = gather_batch(examples, jnp.arange(32), jnp.arange(32))
      batch.weight_B.sum()  # the number of examples that count
    """

    examples: Examples
    weight_B: jax.Array
    rows_B: jax.Array
    is_start: jax.Array | None = None


def train_batch(
    sample: Callable[[jax.Array], Examples] | None,
    split: Split | None,
    seed: jax.Array,
    step: jax.Array,
    rows_B: jax.Array,
    size: int,
    order_N: jax.Array | None = None,
) -> Batch:
    """Returns rows of the training batch of one step.

    With `sample`, every step has new examples. Otherwise an epoch shows every example once, in a
    new random order, and its last batch is filled up with examples of weight 0. A stream is read in
    its own order.

    Args:
      sample: generates an example from a key, or None.
      split: the training split; not needed with `sample`.
      seed: the data seed, uint32.
      step: the step, int32.
      rows_B: the rows of the batch to return; a device asks only for its own.
      size: number of rows of the whole batch.
      order_N: the result of `epoch_order` for the epoch of this step, if the caller keeps it.

    Raises:
      ValueError: without `sample` and `split`.

    Example:
      rows_B = jnp.arange(32)
      batch = train_batch(Adding().sample, None, jnp.uint32(0), jnp.int32(7), rows_B, 32)
      batch.examples.x.shape  # (32, 100, 2)
    """
    key = jax.random.key(seed)
    if sample is not None:
        # A key per row of the whole batch: the number of devices does not change the examples.
        keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, step), rows_B)
        return Batch(jax.vmap(sample)(keys_B), jnp.ones(rows_B.shape), rows_B)
    if split is None:
        raise ValueError("split: needed where the task generates no examples")
    steps = steps_per_epoch(split, size)
    if isinstance(split, Stream):
        index = step % steps
        if split.std:
            # A key per epoch, so that both sides of a cut agree on where it is.
            ends = _cuts(split, jax.random.fold_in(key, step // steps), index, steps)
            return window(split, ends, index == 0, rows_B, size, split.T + 2 * split.shift)
        # An epoch of training has whole chunks only, unless a track is shorter than one chunk.
        return chunk(split, index, rows_B, size, whole=split.track_steps(size) >= split.T)
    if order_N is None:
        # This sorts all examples, so a loop over steps passes the order instead.
        order_N = epoch_order(split, seed, step // steps)
    return gather_batch(split, step % steps * size + rows_B, rows_B, order_N)


def chunk(
    stream: Stream, index: jax.Array, rows_B: jax.Array, tracks: int, *, whole: bool
) -> Batch:
    """Returns one chunk of the tracks of a stream; the targets are the inputs one step later.

    Args:
      stream: the stream.
      index: number of the chunk, int32.
      rows_B: numbers of the tracks; those past the last track get weight 0.
      tracks: number of tracks.
      whole: whether the chunk is known to have T steps; the last chunk of a track may be shorter.

    Returns:
      The batch, with `lengths` unless `whole`.

    Example:
      stream = Stream(np.arange(13), T=3)  # two tracks of six steps: from 0 and from 6
      batch = chunk(stream, jnp.int32(1), jnp.arange(2), 2, whole=True)
      batch.examples.x  # [[3, 4, 5], [9, 10, 11]]
      batch.examples.y  # [[4, 5, 6], [10, 11, 12]]
    """
    ends = index * stream.T, (index + 1) * stream.T
    batch = window(stream, ends, index == 0, rows_B, tracks, stream.T)
    # `index` is traced, so the program cannot see by itself that a chunk is whole.
    return batch._replace(examples=batch.examples._replace(lengths=None)) if whole else batch


def window(
    stream: Stream,
    ends: tuple[jax.Array, jax.Array],
    is_start: jax.Array,
    rows_B: jax.Array,
    tracks: int,
    T: int,
) -> Batch:
    """Returns the part of each track between two of its steps, padded to T.

    Args:
      stream: the stream.
      ends: the first step and the step after the last one, int32; a track may end before.
      is_start: whether the state starts from zero.
      rows_B: numbers of the tracks; those past the last track get weight 0.
      tracks: number of tracks.
      T: time steps of the result.
    """
    steps = stream.track_steps(tracks)
    begin, end = ends[0], jnp.minimum(ends[1], steps)
    # Rows past the last track read that track: indices stay valid, and weight 0 removes the rows.
    starts_B = jnp.minimum(rows_B, tracks - 1) * steps + begin
    # The last place that has a next symbol is N - 2. Only padding is moved there.
    places_BT = jnp.minimum(starts_B[:, None] + jnp.arange(T)[None], stream.tokens.shape[0] - 2)
    lengths_B = jnp.broadcast_to(jnp.clip(end - begin, 0, T), rows_B.shape)
    tokens = jnp.asarray(stream.tokens)
    examples = Examples(tokens[places_BT], tokens[places_BT + 1], lengths_B)
    return Batch(examples, (rows_B < tracks).astype(jnp.float32), rows_B, is_start)


def _cuts(
    stream: Stream, key: jax.Array, index: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the steps at which a training chunk begins and ends.

    Each cut between two chunks is moved by a rounded normal number. The ends of the epoch stay
    where they are. With cuts at new places in each epoch, the gradient is not always truncated at
    the same symbols (Merity et al. 2018).

    Args:
      stream: the stream, with `std` above 0.
      key: the key of the epoch.
      index: number of the chunk, int32.
      steps: number of chunks in an epoch.
    """

    def cut(k: jax.Array) -> jax.Array:
        # A length is the difference of two cuts, whose variances add up: std^2 / 2 each.
        moved = jax.random.normal(jax.random.fold_in(key, k)) * stream.std / 2**0.5
        moved = jnp.clip(jnp.round(moved), -stream.shift, stream.shift).astype(jnp.int32)
        # Nothing lies before the first cut, and a later last cut could lie past the track.
        return k * stream.T + jnp.where((k == 0) | (k == steps), 0, moved)

    return cut(index), cut(index + 1)


# Batches within which examples are sorted by length. A sort of the whole epoch would give nearly
# the same batches in every epoch; a small window leaves batches of mixed length.
WINDOW = 50


def epoch_order(
    examples: Stored, seed: jax.Array, epoch: jax.Array, bucket: int | None = None
) -> jax.Array:
    """Returns the order in which an epoch shows the examples.

    With `bucket`, the shuffled examples are sorted by length within windows of 50 batches, and the
    order of the batches is shuffled. Without it, or without `lengths`, all examples are shuffled.

    Args:
      examples: the training split.
      seed: the data seed, uint32.
      epoch: number of the epoch, int32.
      bucket: the batch size, for batches of examples of similar length; or None.

    Returns:
      Indices of the examples [N], int32.

    Example:
      order_N = epoch_order(examples, jnp.uint32(0), jnp.int32(3), bucket=32)
      (jnp.sort(order_N) == jnp.arange(examples.rows)).all()  # True: each example once
    """
    key = jax.random.fold_in(jax.random.key(seed), epoch)
    N = examples.rows
    order_N = jax.random.permutation(key, N)
    if bucket is None or examples.lengths is None:
        return order_N
    lengths_N = jnp.asarray(examples.lengths)[order_N]
    window_N = jnp.arange(N) // (WINDOW * bucket)
    # The last key of `lexsort` sorts first: by window, then by length. The sort is stable, so
    # examples of equal length keep their random order.
    order_N = order_N[jnp.lexsort((lengths_N, window_N))]
    # A short last batch stays last: `gather_batch` gives weight 0 to places past the end only.
    whole = N // bucket * bucket
    batches = order_N[:whole].reshape(-1, bucket)
    # Otherwise every window would run from short to long examples.
    shuffled = jax.random.permutation(jax.random.fold_in(key, 1), batches)
    return jnp.concatenate([shuffled.ravel(), order_N[whole:]])


def gather_batch(
    examples: Stored, places_B: jax.Array, rows_B: jax.Array, order_N: jax.Array | None = None
) -> Batch:
    """Returns the examples at some places of an order.

    Args:
      examples: the split.
      places_B: places in the order; those past the end get weight 0.
      rows_B: as in `Batch`.
      order_N: indices of the examples in the order to use; None means their own order.

    Example:
      three = Examples(np.array([[1], [2], [3]]), np.array([0, 1, 0]))
      batch = gather_batch(three, places_B=jnp.array([2, 3]), rows_B=jnp.arange(2))
      batch.weight_B  # [1, 0]: place 3 is past the end
    """
    N = examples.rows
    # The last example fills the batch: it is a valid input, so nothing becomes NaN.
    places = jnp.minimum(places_B, N - 1)
    chosen = places if order_N is None else order_N[places]
    weight_B = (places_B < N).astype(jnp.float32)
    # Arrays of the host cannot be indexed by traced numbers.
    stored = jax.tree.map(jnp.asarray, examples)
    return Batch(stored.take(chosen), weight_B, rows_B)


def batch_places(
    split: Stored, seed: jax.Array, step: jax.Array, size: int, bucket: int | None = None
) -> jax.Array:
    """Returns the indices of the training examples that the batch of a step holds.

    Args:
      split: the training split.
      seed: the data seed, uint32.
      step: the step, int32.
      size: number of rows of a batch. The last batch of an epoch may have fewer.
      bucket: as in `epoch_order`.

    Returns:
      Indices [B], in the order of the batch.

    Example:
      batch_places(dataset.splits["train"], jnp.uint32(0), jnp.int32(7), 32)
    """
    epoch, index = jnp.divmod(step, steps_per_epoch(split, size))
    order_N = epoch_order(split, seed, epoch, bucket)
    start = int(index) * size
    return order_N[start : start + size]


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns the number of batches that show all examples, or all whole chunks of a stream.

    Raises:
      UserError: if a stream has too few symbols for the tracks of a batch.

    Example:
      steps_per_epoch(Stream(np.arange(1001), T=20), batch_size=5)  # 10
    """
    if isinstance(split, Stream):
        # Without this error, batches would be empty and training would seem to succeed.
        if split.track_steps(batch_size) < 1:
            N = split.tokens.shape[0]
            raise UserError(
                f"train.batch_size: got {batch_size}, but the training text has {N} symbols; "
                f"expected {N - 1} or less, since each row of a batch reads its own part"
            )
        # Rounded down: steps of a track after its last whole chunk do not train.
        return max(split.track_steps(batch_size) // split.T, 1)
    return -(-split.rows // batch_size)


def first_examples(split: Split, rows: int) -> Examples:
    """Returns the first sequences of a split, as host arrays.

    Args:
      split: the split.
      rows: number of sequences. A stream is cut into as many tracks, and the result is their first
        chunk.

    Example:
      first_examples(dataset.splits["test"], 8).x.shape  # (8, 100, 2)
    """
    if isinstance(split, Stream):
        begun = chunk(split, jnp.int32(0), jnp.arange(rows), rows, whole=True)
        return jax.device_get(begun.examples)
    return split.take(np.arange(min(rows, split.rows)))


def longest(split: Split) -> int:
    """Returns the padded number of time steps of a split, or of the training chunks of a stream.

    Example:
      longest(Stream(np.arange(1001), T=20))  # 20
      longest(Stream(np.arange(1001), T=20, std=4.0))  # 32
    """
    return split.T + 2 * split.shift if isinstance(split, Stream) else split.steps


# Time steps that are computed at once without gradients, over all rows of a batch. The memory of
# activations is proportional to it: with D inputs and H units, about 4 (2 D + 6 H) bytes each.
STEPS_AT_ONCE = 2**18


def rows_that_fit(steps: int, most: int) -> int:
    """Returns the number of rows of a batch without gradients: fewer if the rows are very long.

    Args:
      steps: time steps of a row, with its padding.
      most: number of rows of a batch of short sequences.

    Example:
      rows_that_fit(steps=100, most=256), rows_that_fit(steps=20_000, most=256)  # (256, 13)
    """
    return max(min(most, STEPS_AT_ONCE // steps), 1)


def mean_steps(split: Split) -> float:
    """Returns the mean number of real time steps of a sequence, or of a chunk of a stream.

    Example:
      x_NT, y_N = np.zeros((2, 9), np.int32), np.zeros(2, np.int32)
      mean_steps(Examples(x_NT, y_N, lengths=np.array([3, 6])))  # 4.5
    """
    if isinstance(split, Stream):
        return float(split.T)
    return float(split.steps if split.lengths is None else split.lengths.mean())
