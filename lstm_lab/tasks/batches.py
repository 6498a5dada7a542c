"""Batches: pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.tasks.base import Examples, Split, Stream


class Batch(NamedTuple):
    """Examples of one step.

    Attributes:
      examples: the examples, B of them.
      weight_B: 1 for an example that counts, 0 for one that only fills the batch.
      rows_B: each example's place in the batch of all devices.
      is_start: of a stream, whether it begins here; None of examples, which begin from zero.
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
    """Returns rows of the training batch of one step, a pure function of (seed, step).

    Finite data are taken in an order shuffled anew each epoch, every example once; the last batch
    of an epoch is filled up with examples of weight 0. A stream is read in its own order.

    Args:
      sample: generates an example from a key, or None.
      split: the training split where `sample` is None.
      seed: the data seed, uint32.
      step: the step, int32.
      rows_B: which of the batch's rows to return.
      size: rows of the whole batch.
      order_N: what `epoch_order` gave for the step's epoch, where a caller of many steps keeps it.

    Returns:
      The batch's rows.
    """
    key = jax.random.key(seed)
    if sample is not None:
        keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, step), rows_B)
        return Batch(jax.vmap(sample)(keys_B), jnp.ones(rows_B.shape), rows_B)
    if split is None:
        raise ValueError("split: needed where the task generates no examples")
    steps = steps_per_epoch(split, size)
    if isinstance(split, Stream):
        index = step % steps
        if split.std:
            ends = _cuts(split, jax.random.fold_in(key, step // steps), index, steps)
            return window(split, ends, index == 0, rows_B, size, split.T + 2 * split.shift)
        return chunk(split, index, rows_B, size, whole=split.track_steps(size) >= split.T)
    if order_N is None:
        order_N = epoch_order(split, seed, step // steps)
    return gather_batch(split, step % steps * size + rows_B, rows_B, order_N)


def chunk(
    stream: Stream, index: jax.Array, rows_B: jax.Array, tracks: int, *, whole: bool
) -> Batch:
    """Returns rows of a chunk of a stream's tracks; its targets are the inputs a step later.

    Args:
      stream: the stream.
      index: which chunk, int32.
      rows_B: which tracks; those past the last one weigh 0.
      tracks: how many there are.
      whole: whether the chunk is known not to end early, as a track's last one may.

    Returns:
      The batch.
    """
    ends = index * stream.T, (index + 1) * stream.T
    batch = window(stream, ends, index == 0, rows_B, tracks, stream.T)
    return batch._replace(examples=batch.examples._replace(lengths=None)) if whole else batch


def window(
    stream: Stream,
    ends: tuple[jax.Array, jax.Array],
    is_start: jax.Array,
    rows_B: jax.Array,
    tracks: int,
    T: int,
) -> Batch:
    """Returns what lies between two steps of each track, as far as it goes, padded to T."""
    steps = stream.track_steps(tracks)
    begin, end = ends[0], jnp.minimum(ends[1], steps)
    starts_B = jnp.minimum(rows_B, tracks - 1) * steps + begin
    places_BT = jnp.minimum(starts_B[:, None] + jnp.arange(T)[None], stream.tokens.shape[0] - 2)
    lengths_B = jnp.broadcast_to(jnp.clip(end - begin, 0, T), rows_B.shape)
    tokens = jnp.asarray(stream.tokens)
    examples = Examples(tokens[places_BT], tokens[places_BT + 1], lengths_B)
    return Batch(examples, (rows_B < tracks).astype(jnp.float32), rows_B, is_start)


def _cuts(
    stream: Stream, key: jax.Array, index: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Returns where a training chunk of an epoch begins and ends: each cut is moved at random, by a
    normal number that makes the chunks' lengths deviate by `std`, but for the epoch's ends."""

    def cut(k: jax.Array) -> jax.Array:
        moved = jax.random.normal(jax.random.fold_in(key, k)) * stream.std / 2**0.5
        moved = jnp.clip(jnp.round(moved), -stream.shift, stream.shift).astype(jnp.int32)
        return k * stream.T + jnp.where((k == 0) | (k == steps), 0, moved)

    return cut(index), cut(index + 1)


WINDOW = 50  # batches among which examples of like length are brought together


def epoch_order(
    examples: Examples, seed: jax.Array, epoch: jax.Array, bucket: int | None = None
) -> jax.Array:
    """Returns the order in which an epoch shows the examples.

    Args:
      examples: the training split.
      seed: the data seed, uint32.
      epoch: which epoch, int32.
      bucket: the batch size, where batches shall hold examples of like length: the shuffled
        examples are sorted by length within windows of 50 batches, and the batches shuffled again.
        None shuffles all.
    """
    key = jax.random.fold_in(jax.random.key(seed), epoch)
    N = examples.x.shape[0]
    order_N = jax.random.permutation(key, N)
    if bucket is None or examples.lengths is None:
        return order_N
    lengths_N = jnp.asarray(examples.lengths)[order_N]
    window_N = jnp.arange(N) // (WINDOW * bucket)
    order_N = order_N[jnp.lexsort((lengths_N, window_N))]
    # The last batch, where it is short, stays last.
    whole = N // bucket * bucket
    batches = order_N[:whole].reshape(-1, bucket)
    shuffled = jax.random.permutation(jax.random.fold_in(key, 1), batches)
    return jnp.concatenate([shuffled.ravel(), order_N[whole:]])


def gather_batch(
    examples: Examples, places_B: jax.Array, rows_B: jax.Array, order_N: jax.Array | None = None
) -> Batch:
    """Returns the examples at places of an order; those past the end weigh 0."""
    N = examples.x.shape[0]
    places = jnp.minimum(places_B, N - 1)
    chosen = places if order_N is None else order_N[places]
    weight_B = (places_B < N).astype(jnp.float32)
    return Batch(jax.tree.map(lambda a: jnp.asarray(a)[chosen], examples), weight_B, rows_B)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns how many batches show every example once, or the whole chunks of a stream."""
    if isinstance(split, Stream):
        return max(split.track_steps(batch_size) // split.T, 1)
    return -(-split.x.shape[0] // batch_size)


def first_examples(split: Split, rows: int) -> Examples:
    """Returns a split's first sequences, or the first chunk of a stream's tracks; host arrays."""
    if isinstance(split, Stream):
        begun = chunk(split, jnp.int32(0), jnp.arange(rows), rows, whole=True)
        return jax.device_get(begun.examples)
    return jax.tree.map(lambda array: array[:rows], split)


def longest(split: Split) -> int:
    """Returns the time steps of a split's longest sequence, or of a stream's chunks."""
    return split.T + 2 * split.shift if isinstance(split, Stream) else split.x.shape[1]


def mean_steps(split: Split) -> float:
    """Returns the time steps of a split's sequences, or of a stream's chunks, on average."""
    if isinstance(split, Stream):
        return float(split.T)
    return float(split.x.shape[1] if split.lengths is None else split.lengths.mean())
