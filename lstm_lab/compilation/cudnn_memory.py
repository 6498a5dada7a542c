"""The memory that cuDNN keeps between forward and backward pass, where there is no GPU to ask.

In: a block in which programs are traced. Out: nothing; inside it, JAX takes an estimate. `build.py`
uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jaxlib import gpu_rnn

# Numbers for each unit and time step: four gates, the cell's state and its tanh.
KEPT = 6


@contextmanager
def estimated_memory() -> Iterator[None]:
    """Lets programs with cuDNN calls be traced without a GPU.

    While it traces a call, JAX asks cuDNN how many bytes the call keeps. cuDNN answers on a GPU
    alone, and JAX has no other way in. Only the size of one array of the program depends on it.

    Example:
      with estimated_memory():
          lowered = program.lower(member, splits, test)
    """
    # Without the plugin for GPUs, jaxlib's module lacks the function.
    names, name = vars(gpu_rnn), "compute_rnn_workspace_reserve_space_sizes"
    present = names.get(name)
    names[name] = _estimate
    try:
        yield
    finally:
        del names[name]
        if present is not None:
            names[name] = present


def _estimate(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    batch_size: int,
    max_seq_length: int,
    dropout: float,
    bidirectional: bool,
    cudnn_allow_tf32: bool,
) -> tuple[int, int]:
    """Returns the bytes of scratch memory, which are not estimated, and of what is kept."""
    del input_size, dropout, cudnn_allow_tf32
    layers = num_layers * (2 if bidirectional else 1)
    return 0, 4 * KEPT * layers * batch_size * max_seq_length * hidden_size
