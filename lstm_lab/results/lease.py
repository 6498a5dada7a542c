"""Leases: at most one process at a time works on a cohort, over all machines that share a folder.

A lease is a file `lease.N` in the cohort's folder. The process that creates the highest N owns the
cohort. It touches the file while it works. A lease is stale if its process on this machine has
ended, or if a process on another machine has not touched it for `STALE_SECONDS`; then the next
process creates `lease.N+1`. A slow owner checks `owns_lease` before it writes, and sees that it has
lost the cohort.

Numbers only rise and files are never removed, so two processes can never both own a number. This
needs nothing but hard links, which also work on network file systems; file locks often do not.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_lab.utils.files import read_json, write_json
from lstm_lab.utils.types import JSON

# An owner touches its file every 10 s. Twelve missed touches tolerate a slow network file system.
STALE_SECONDS = 120.0
TOUCH_SECONDS = 10.0


class Lease:
    """A lease that this process acquired.

    Args:
      path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def owns_lease(self) -> bool:
        """Returns whether no other process has taken the cohort over."""
        newest = _newest(self.path.parent)
        return newest is not None and newest == self.path


def current_owner(folder: Path) -> dict[str, JSON] | None:
    """Returns `host` and `pid` of the process that works on a cohort now, or None.

    Args:
      folder: the cohort's folder.
    """
    newest = _newest(folder) if folder.is_dir() else None
    if newest is None or _is_stale(newest):
        return None
    content: dict[str, JSON] | None = read_json(newest)
    return content


@contextmanager
def acquire_lease(folder: Path) -> Iterator[Lease | None]:
    """Holds the lease on a folder; gives None if another process holds it.

    Args:
      folder: the cohort's folder; created if it is missing.

    Example:
      with acquire_lease(folder) as lease:
          if lease is not None:
              train(still_mine=lease.owns_lease)
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = _newest(folder)
    if newest is not None and not _is_stale(newest):
        yield None
        return
    lease = _create(folder, 0 if newest is None else _number(newest) + 1)
    if lease is None:
        yield None
        return
    ended = threading.Event()
    thread = threading.Thread(target=_keep_touching, args=(lease, ended), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        # Marked as released, not removed: if a number came back, a slow owner of the earlier lease
        # would believe that it still owns the cohort.
        if lease.owns_lease():
            write_json(lease.path, {"released": True})


def _create(folder: Path, number: int) -> Lease | None:
    """Creates the lease with a number; returns None if another process was faster."""
    path = folder / f"lease.{number}"
    part = folder / f".lease.{number}.{_unique_name()}"
    pid = os.getpid()
    content = {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid)}
    part.write_text(json.dumps(content))
    try:
        # Atomic: fails if the target exists, and no other process ever sees an empty file.
        os.link(part, path)
    except FileExistsError:
        return None
    finally:
        part.unlink()
    return Lease(path)


def _keep_touching(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(TOUCH_SECONDS):
        os.utime(lease.path)


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("lease.*"), key=_number, default=None)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _is_stale(path: Path) -> bool:
    """Returns whether a lease was released, or its owner no longer works."""
    try:
        content = json.loads(path.read_text())
        age = _file_system_time(path.parent) - path.stat().st_mtime
    except (OSError, ValueError):
        return False  # another process is writing it right now
    if content.get("released"):
        return True
    if content["host"] == socket.gethostname():
        # The process itself is a better witness than the file's age: a laptop may have slept.
        pid = content["pid"]
        return not process_exists(pid) or _start_time(pid) != content["started"]
    return age > STALE_SECONDS


def _start_time(pid: int) -> str | None:
    """Returns the start time of a process: the system gives its number to a new one later."""
    try:
        # Field 22 of stat, counted after the command, which may contain spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _file_system_time(folder: Path) -> float:
    """Returns the time of the clock that stamps files.

    On a network file system that is the server's clock, which all machines share. Their own clocks
    may differ by more than `STALE_SECONDS`.
    """
    probe = folder / f".clock.{_unique_name()}"
    probe.touch()
    seconds = probe.stat().st_mtime
    probe.unlink()
    return seconds


def _unique_name() -> str:
    """Returns a name that no other thread of any machine uses."""
    return f"{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"


def process_exists(pid: int) -> bool:
    """Returns whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it exists and belongs to another user
    return True
