"""What a task gives: what goes in, what comes out, examples, and batches as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # numpy on the host, jax on the device


@dataclass(frozen=True)
class Tokens:
    """Inputs are symbols [B,T] of a vocabulary."""

    vocabulary: int


@dataclass(frozen=True)
class Vectors:
    """Inputs are vectors [B,T,D]."""

    features: int


@dataclass(frozen=True)
class Categorical:
    """Targets are one of `size` classes: [B], or [B,T] at every step."""

    size: int
    every_step: bool = False


@dataclass(frozen=True)
class Bernoulli:
    """Targets are `size` independent binary numbers: [B,C], or [B,T,C] at every step."""

    size: int
    every_step: bool = False


@dataclass(frozen=True)
class Real:
    """Targets are `size` real numbers: [B,C], or [B,T,C] at every step."""

    size: int
    every_step: bool = False


Inputs = Tokens | Vectors
Target = Categorical | Bernoulli | Real


class Examples(NamedTuple):
    """Sequences with their targets, with a leading example axis.

    Attributes:
      x: inputs, tokens [N,T] or vectors [N,T,D].
      y: targets, as the task's `target` says.
      lengths: real steps of each sequence [N], or None where all have T.
    """

    x: Array
    y: Array
    lengths: Array | None = None


class Batch(NamedTuple):
    """Examples of one step.

    Attributes:
      examples: the examples, B of them.
      weight_B: 1 for an example that counts, 0 for one that only fills the batch.
      rows_B: each example's place in the batch of all devices.
    """

    examples: Examples
    weight_B: jax.Array
    rows_B: jax.Array


@dataclass(frozen=True)
class Dataset:
    """A task's examples by split: train (absent where generated), valid and test."""

    splits: dict[str, Examples]


class Task(Protocol):
    """A frozen dataclass of a task's options.

    Attributes:
      inputs: what goes in.
      target: what comes out.
      metric: the metric that chooses checkpoints and ranks runs.
      sample: a key -> one example, where training data are generated without end; else None.
    """

    @property
    def inputs(self) -> Inputs:
        """What goes in."""
        ...

    @property
    def target(self) -> Target:
        """What comes out."""
        ...

    @property
    def metric(self) -> str:
        """The metric that ranks runs."""
        ...

    @property
    def sample(self) -> Callable[[jax.Array], Examples] | None:
        """A key -> one example, or None."""
        ...

    name: ClassVar[str]

    def load(self, data_dir: Path) -> Dataset:
        """Reads or makes the examples."""
        ...


def train_batch(
    sample: Callable[[jax.Array], Examples] | None,
    examples: Examples | None,
    seed: jax.Array,
    step: jax.Array,
    rows_B: jax.Array,
    size: int,
    order_N: jax.Array | None = None,
) -> Batch:
    """Returns rows of the training batch of one step, a pure function of (seed, step).

    Finite data are taken in an order shuffled anew each epoch, every example once; the last batch
    of an epoch is filled up with examples of weight 0.

    Args:
      sample: generates an example from a key, or None.
      examples: the training split where `sample` is None.
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
    if examples is None:
        raise ValueError("examples: needed where the task generates none")
    steps = steps_per_epoch(examples.x.shape[0], size)
    if order_N is None:
        order_N = epoch_order(examples, seed, step // steps)
    return take(examples, step % steps * size + rows_B, rows_B, order_N)


def epoch_order(examples: Examples, seed: jax.Array, epoch: jax.Array) -> jax.Array:
    """Returns the order in which an epoch shows the examples."""
    key = jax.random.fold_in(jax.random.key(seed), epoch)
    return jax.random.permutation(key, examples.x.shape[0])


def take(
    examples: Examples, places_B: jax.Array, rows_B: jax.Array, order_N: jax.Array | None = None
) -> Batch:
    """Returns the examples at places of an order; those past the end weigh 0."""
    N = examples.x.shape[0]
    places = jnp.minimum(places_B, N - 1)
    chosen = places if order_N is None else order_N[places]
    weight_B = (places_B < N).astype(jnp.float32)
    return Batch(jax.tree.map(lambda a: jnp.asarray(a)[chosen], examples), weight_B, rows_B)


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Returns how many batches show every example once."""
    return -(-examples // batch_size)


def check_folds(folds: int | None, fold: int | None) -> None:
    """Raises ValueError for a cross-validation that cannot be."""
    if (folds is None) != (fold is None):
        raise ValueError(f"folds, fold: found {folds} and {fold}, allowed both or none")
    if folds is not None and folds < 3:
        raise ValueError(f"folds: found {folds}, allowed 3 or more")
    if folds is not None and fold is not None and not 0 <= fold < folds:
        raise ValueError(f"fold: found {fold}, allowed 0 to {folds - 1}")


def cross_validation(order_N: Array, folds: int, fold: int) -> tuple[Array, Array, Array]:
    """Splits examples for one fold of a cross-validation.

    Args:
      order_N: the examples, in an order that all folds share.
      folds: how many parts, of nearly equal size.
      fold: which part is tested; the next one validates.

    Returns:
      The examples that train, validate and test.
    """
    parts = np.array_split(order_N, folds)
    test, valid = fold, (fold + 1) % folds
    train = [part for k, part in enumerate(parts) if k not in (test, valid)]
    return np.concatenate(train), parts[valid], parts[test]
