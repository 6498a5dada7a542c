"""One run over several hosts: which host writes, and how the others learn what it read.

Every host runs the same program on its share of each batch. Host 0, the primary, reads and writes
the run's folder and broadcasts what it read. With one host nothing is sent.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import PyTree

JSONValue = TypeVar("JSONValue")

_ADDRESS = re.compile(r"(?P<index>\d+)/(?P<count>\d+)@(?P<address>.+:\d+)")

_LOOPBACK = ("127.", "localhost:", "[::1]:")


def initialize_distributed(hosts: str) -> None:
    """Makes this process one of several that train together; call it before JAX is first used.

    Args:
      hosts: `K/N@ADDRESS:PORT`: the number of this process from 0 to N-1, the number of processes,
        and the address at which process 0 listens. Or `auto`: SLURM, MPI or the TPU pod know.

    Raises:
      UserError: for another form, or if `auto` finds no such environment.
    """
    match = _ADDRESS.fullmatch(hosts)
    try:
        if hosts == "auto":
            jax.distributed.initialize()
        elif match is not None and int(match["index"]) < int(match["count"]):
            address = match["address"]
            jax.distributed.initialize(
                address,
                int(match["count"]),
                int(match["index"]),
                # JAX would listen on all addresses. Processes of one machine need only this one.
                coordinator_bind_address=address if address.startswith(_LOOPBACK) else None,
            )
        else:
            raise UserError(
                f"--hosts: got {hosts!r}, expected auto, or K/N@ADDRESS:PORT with K from 0 to N-1"
            )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--hosts={hosts}: {error}") from error


def count() -> int:
    """Returns the number of hosts."""
    return jax.process_count()


def is_primary() -> bool:
    """Returns whether this host reads and writes the run's folder."""
    return jax.process_index() == 0


@contextmanager
def host_workdir(folder: Path) -> Iterator[Path]:
    """Yields the run's folder on the primary host, and a temporary one on the others.

    The others write the same records, so that no code differs between hosts, and then drop them.
    """
    if is_primary():
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def broadcast_from_host0(read: Callable[[], JSONValue]) -> JSONValue:
    """Returns on every host what host 0 reads.

    Args:
      read: returns JSON-ready data; called on host 0 alone.

    Raises:
      UserError: on every host, if `read` raises it. One host alone would leave the others waiting.
    """
    # The common case pays nothing.
    if count() == 1:
        return read()
    message = b""
    if is_primary():
        try:
            message = json.dumps({"value": read()}).encode()
        except UserError as error:
            message = json.dumps({"error": str(error)}).encode()
    # JSON and not pickle: what another process sends is never executed.
    answer = json.loads(_send_from_host0(message))
    if "error" in answer:
        raise UserError(answer["error"])
    value: JSONValue = answer["value"]
    return value


def broadcast_arrays_from_host0(tree: PyTree) -> PyTree:
    """Returns the arrays of host 0 on every host, bit for bit.

    Args:
      tree: host arrays, of the same shapes and dtypes on all hosts.
    """
    if count() == 1:
        return tree

    def one(array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        # As bytes: JAX broadcasts by a sum over hosts, which would turn -0.0 into 0.0.
        return np.frombuffer(_send_from_host0(array.tobytes()), array.dtype).reshape(array.shape)

    return jax.tree.map(one, tree)


def check_alike(what: str, value: str) -> None:
    """Raises UserError on every host if the hosts differ in what they have to share.

    Args:
      what: its name in the error.
      value: the value on this host.
    """
    if any_of(broadcast_from_host0(lambda: value) != value):
        raise UserError(f"--hosts: {what} differ between hosts, expected the same on all")


def any_of(flag: bool) -> bool:
    """Returns whether the flag is set on any host; the same answer on all."""
    if count() == 1:
        return flag
    # All hosts leave the loop after the same chunk, or the others would wait for ever.
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def _send_from_host0(message: bytes) -> bytes:
    """Returns the message of host 0, of any length, on every host."""
    # Two broadcasts, since all hosts need to know the shape before the second one.
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(message), np.int32)))
    content = np.zeros(size, np.uint8)
    if is_primary():
        content[:] = np.frombuffer(message, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes()
