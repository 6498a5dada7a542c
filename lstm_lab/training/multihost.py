"""One run over several hosts: which host writes, and how the others learn what it read.

Every host runs the same program on its share of each batch. Host 0, the primary, reads and writes
the run's folder and broadcasts what it read. With one host nothing is sent.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
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

# How a cluster may name the hosts. JAX reads the first one only; a JobSet of `--emit=kubernetes`,
# and Kubeflow's Trainer, set all three.
_ADDRESS_VARIABLE = "JAX_COORDINATOR_ADDRESS"
_COUNT_VARIABLES = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize_distributed(hosts: str) -> None:
    """Makes this process one of several that train together; call it before JAX is first used.

    Args:
      hosts: `K/N@ADDRESS:PORT`: the number of this process from 0 to N-1, the number of processes,
        and the address at which process 0 listens. Or `auto`: the environment has all three, as
        JAX_PROCESS_ID, JAX_NUM_PROCESSES and JAX_COORDINATOR_ADDRESS; or JAX asks SLURM, Open MPI,
        the TPU pod or Kubernetes.

    Raises:
      UserError: for another form, or if `auto` finds no cluster.
    """
    if hosts == "auto":
        if not any(name in os.environ for name in _COUNT_VARIABLES):
            _ask_cluster()
            return
        hosts = _hosts_of_environment()
    match = _ADDRESS.fullmatch(hosts)
    if match is None or int(match["index"]) >= int(match["count"]):
        raise UserError(
            f"--hosts: got {hosts!r}, expected auto, or K/N@ADDRESS:PORT with K from 0 to N-1"
        )
    address = match["address"]
    try:
        jax.distributed.initialize(
            address,
            int(match["count"]),
            int(match["index"]),
            # JAX would listen on all addresses. Processes of one machine need only this one.
            coordinator_bind_address=address if address.startswith(_LOOPBACK) else None,
            # JAX would still ask for the cluster, which fails in a pod without a token, and gives
            # each task of SLURM only one of its accelerators.
            cluster_detection_method="deactivate",
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--hosts={hosts}: {_one_line(error)}") from error


def _hosts_of_environment() -> str:
    """Returns `K/N@ADDRESS:PORT` from the variables of the environment."""
    names = (_ADDRESS_VARIABLE, *_COUNT_VARIABLES)
    for name in names:
        if name not in os.environ:
            raise UserError(f"--hosts=auto: {name} is missing, expected all of {', '.join(names)}")
    address, number, index = (os.environ[name] for name in names)
    return f"{index}/{number}@{address}"


def _ask_cluster() -> None:
    """Lets JAX find the hosts of SLURM, Open MPI, a TPU pod or Kubernetes."""
    try:
        with warnings.catch_warnings():
            # In Kubernetes, JAX warns in several lines if the package `kubernetes` is missing.
            warnings.simplefilter("ignore")
            jax.distributed.initialize()
    # Each kind of cluster has errors of its own: of the network, of the package `kubernetes`, ...
    except Exception as error:
        # What JAX says if nothing was found is about its own arguments.
        detected = not str(error).endswith("be defined.")
        reason = _one_line(error) if detected else "found no SLURM, Open MPI, TPU pod or Kubernetes"
        raise UserError(
            f"--hosts=auto: {reason}; --hosts=K/N@ADDRESS:PORT or {_ADDRESS_VARIABLE}, "
            f"{' and '.join(_COUNT_VARIABLES)} name the hosts"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
      Exception: on host 0, any other error of `read`.
      RuntimeError: on the other hosts, with the text of that error.
    """
    # The common case pays nothing.
    if count() == 1:
        return read()
    message = b""
    failure: Exception | None = None
    if is_primary():
        try:
            message = json.dumps({"value": read()}).encode()
        # Whatever it is, such as a disk that cannot be read: the others wait for a message.
        except Exception as error:
            failure = error
            message = json.dumps(_described(error)).encode()
    # JSON and not pickle: what another process sends is never executed.
    answer = json.loads(_send_from_host0(message))
    if failure is not None:
        raise failure
    if "error" in answer:
        kind = UserError if answer["kind"] == "user" else RuntimeError
        raise kind(answer["error"])
    value: JSONValue = answer["value"]
    return value


def _described(error: Exception) -> dict[str, str]:
    """Returns what the other hosts get of an error of host 0."""
    if isinstance(error, UserError):
        return {"kind": "user", "error": str(error)}
    return {"kind": "other", "error": f"host 0: {type(error).__name__}: {error}"}


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
