"""One run over several hosts: who writes, and what all hosts have to know alike.

Every host runs the same program on its share of each batch. The first reads and writes the run's
folder and tells the others what it found there. With one host nothing is sent.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from lstm_lab.utils.errors import UserError

_PLACE = re.compile(r"(?P<index>\d+)/(?P<count>\d+)@(?P<address>.+:\d+)")


def initialize_distributed(place: str) -> None:
    """Makes this process one of several that train together; before JAX is first used.

    Args:
      place: `K/N@ADDRESS:PORT`, the process's number from 0 on, how many there are, and where
        number 0 listens; or `auto`, which asks SLURM, MPI or the TPU pod.

    Raises:
      UserError: for another form, or where `auto` finds nothing to ask.
    """
    found = _PLACE.fullmatch(place)
    try:
        if place == "auto":
            jax.distributed.initialize()
        elif found is not None and int(found["index"]) < int(found["count"]):
            jax.distributed.initialize(found["address"], int(found["count"]), int(found["index"]))
        else:
            raise UserError(
                f"--hosts: found {place!r}, allowed auto, or K/N@ADDRESS:PORT with K from 0 to N-1"
            )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--hosts={place}: {error}") from error


def count() -> int:
    """Returns how many hosts there are."""
    return jax.process_count()


def is_primary() -> bool:
    """Returns whether this host reads and writes the run's folder."""
    return jax.process_index() == 0


@contextmanager
def host_workdir(folder: Path) -> Iterator[Path]:
    """Gives the run's folder on the first host; on others one that goes away, for their records."""
    if is_primary():
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def broadcast_from_host0(find: Callable[[], Any]) -> Any:
    """Returns on every host what the first one finds.

    Args:
      find: gives JSON-ready data; called on the first host alone.

    Raises:
      UserError: on every host, where `find` raises it.
    """
    if count() == 1:
        return find()
    message = b""
    if is_primary():
        try:
            message = json.dumps({"found": find()}).encode()
        except UserError as error:
            message = json.dumps({"error": str(error)}).encode()
    answer = json.loads(_send_from_host0(message))
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["found"]


def broadcast_arrays_from_host0(tree: Any) -> Any:
    """Returns on every host the first one's arrays, bit for bit.

    Args:
      tree: host arrays; those of other hosts have the same shapes and dtypes.
    """
    if count() == 1:
        return tree

    def one(array: Any) -> np.ndarray:
        array = np.asarray(array)
        # As bytes: a sum over hosts would turn -0.0 into 0.0.
        return np.frombuffer(_send_from_host0(array.tobytes()), array.dtype).reshape(array.shape)

    return jax.tree.map(one, tree)


def check_alike(what: str, value: str) -> None:
    """Raises UserError on every host where hosts differ in what they have to share.

    Args:
      what: what it is, for the error.
      value: this host's.
    """
    if any_of(broadcast_from_host0(lambda: value) != value):
        raise UserError(f"--hosts: {what} differ between the hosts, allowed the same on all")


def any_of(flag: bool) -> bool:
    """Returns whether the flag is set on any host; the same on all."""
    if count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def _send_from_host0(message: bytes) -> bytes:
    """Returns the first host's message, of any length, on every host."""
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(message), np.int32)))
    content = np.zeros(size, np.uint8)
    if is_primary():
        content[:] = np.frombuffer(message, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes()
