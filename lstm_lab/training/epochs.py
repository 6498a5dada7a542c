"""The order in which a member visits the training examples: a new one in each epoch.

In: the spec of a run, its training split and a member's state. Out: indices of the examples, or
None if a task has no epochs of examples, because it generates its batches or reads a stream.
`step.py` carries the order from step to step. Read `tasks/batches.py` next: how an order is drawn.
"""

from __future__ import annotations

import jax
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Split, Stored, Stream, epoch_order, steps_per_epoch
from lstm_lab.training.state import TrainState


def order_of_epoch(spec: RunSpec, train: Split | None, state: TrainState) -> jax.Array | None:
    """Returns the order of the examples in the current epoch.

    Args:
      spec: the run.
      train: the training split; None for a task that generates its training data.
      state: the member's state.

    Returns:
      Indices [N], or None without epochs of examples.

    Example:
      order_N = order_of_epoch(spec, splits["train"], state)
    """
    examples, size = _reshuffled(spec, train), spec.train.batch_size
    if examples is None:
        return None
    epoch = state.step // steps_per_epoch(examples, size)
    bucket = size if spec.train.bucket else None
    return epoch_order(examples, state.data_seed, epoch, bucket)


def next_order(
    spec: RunSpec, train: Split | None, state: TrainState, order_N: jax.Array | None
) -> jax.Array | None:
    """Returns the order for the next step: a new one at the start of an epoch.

    Args:
      spec, train, state: as in `order_of_epoch`.
      order_N: the order of the step before.

    Example:
      order_N = next_order(spec, splits["train"], state, order_N)
    """
    examples = _reshuffled(spec, train)
    if examples is None:
        return order_N
    # Shuffling is a sort, so it is done once an epoch and not at every step.
    starts = state.step % steps_per_epoch(examples, spec.train.batch_size) == 0
    return lax.cond(
        starts, lambda state: order_of_epoch(spec, train, state), lambda _: order_N, state
    )


def _reshuffled(spec: RunSpec, train: Split | None) -> Stored | None:
    """Returns the training split if each epoch visits its examples in a new order, or None."""
    if spec.task.sample is not None or isinstance(train, Stream):
        return None
    return train
