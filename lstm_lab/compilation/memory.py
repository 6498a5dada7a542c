"""The memory that a cohort needs on one device, against what a chip has.

    total = state + data + padding + temporaries + code

In: a `Build`. Out: `MemoryUse`. The state stays where it is from call to call, because its arrays
are donated; temporaries are those of the program that needs more of them.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from lstm_lab.compilation.build import Build
from lstm_lab.tasks import Dataset
from lstm_lab.training.layout import Layout
from lstm_lab.utils.types import PyTree


class MemoryUse(NamedTuple):
    """Bytes on one device.

    Attributes:
      parameters: the weights of all lanes, a part of the state.
      state: weights, best weights, optimizer and counters of all lanes.
      data: all splits.
      padding: what the chip's layout of arrays adds to state and data. A TPU stores tiles of 8 by
        128 numbers.
      temporaries: activations, gradients and whatever else a call needs.
      code: the programs themselves.
      total: the sum, without `parameters`.
      capacity: what the chip has.

    Example:
      memory.total <= memory.capacity
    """

    parameters: float
    state: float
    data: float
    padding: float
    temporaries: float
    code: float
    total: float
    capacity: float

    @property
    def fits(self) -> bool:
        """Whether the chip has room for all of it."""
        return self.total <= self.capacity


def memory_use(build: Build, layout: Layout, dataset: Dataset, capacity: float) -> MemoryUse:
    """Returns the memory that the programs of a cohort need on one device.

    Args:
      build: the compiled programs.
      layout: how the cohort lies on the devices.
      dataset: its data, which lie on every device as a whole.
      capacity: of the device, in bytes.

    Raises:
      ValueError: for programs that did not compile, or whose compiler does not analyze memory.

    Example:
      memory_use(built, layout, dataset, target.pool.memory).fits
    """
    if build.run_chunk is None or build.evaluate is None:
        raise ValueError("build: got programs that did not compile")
    lanes = layout.lanes // (layout.devices if layout.kind == "members" else 1)
    state, data = lanes * array_bytes(build.member), array_bytes(dataset.splits)
    test = array_bytes(dataset.splits["test"])
    chunk, evaluate = build.run_chunk.memory_analysis(), build.evaluate.memory_analysis()
    if chunk is None or evaluate is None:
        raise ValueError("build: got programs of a compiler that does not say what memory they use")
    # The arguments of both: all splits but the test split, and the test split. The best weights are
    # arguments of both as well, so their padding counts twice, which is little.
    padding = max(0.0, chunk.argument_size_in_bytes - (state + data - test))
    evaluated = lanes * array_bytes((build.member.best.params, build.member.hparams)) + test
    padding += max(0.0, evaluate.argument_size_in_bytes - evaluated)
    # Outputs that are not the donated state, such as reports.
    outputs = max(0.0, chunk.output_size_in_bytes - chunk.alias_size_in_bytes)
    temporaries = max(
        chunk.temp_size_in_bytes + outputs,
        evaluate.temp_size_in_bytes + evaluate.output_size_in_bytes,
    )
    code = chunk.generated_code_size_in_bytes + evaluate.generated_code_size_in_bytes
    total = state + data + padding + temporaries + code
    parameters = lanes * array_bytes(build.member.params)
    return MemoryUse(parameters, state, data, padding, temporaries, code, total, capacity)


def array_bytes(tree: PyTree) -> float:
    """Returns the size of arrays, or of shapes, as 32-bit programs hold them.

    Example:
      array_bytes({"w": np.zeros(3)})  # 12.0
    """
    return float(
        sum(a.size * jax.dtypes.canonicalize_dtype(a.dtype).itemsize for a in jax.tree.leaves(tree))
    )
