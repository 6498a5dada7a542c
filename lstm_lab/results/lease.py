"""Leases: at most one process at a time works on a cohort, over all machines that share a folder.

A lease is a file `lease.N` in the cohort's folder. The process that creates the highest N owns the
cohort. It touches the file while it works. When the owner has ended, the lease is stale, and the
next process creates `lease.N+1`. A slow owner checks `owns_lease` before it writes, and sees that
it has lost the cohort.

Numbers only rise and files are never removed, so two processes can never both own a number. This
needs nothing but hard links, which also work on network file systems; file locks often do not. On
file systems without hard links, the file is created exclusively.

Whether an owner has ended is decided in one of two ways (`Place`):

- A process that shares the owner's host name, boot of the kernel and PID namespace asks the system
  for the process and its start time.
- Any other process looks at the age of the file: `STALE_SECONDS` without a touch. That holds for
  other machines, for other containers, even with the same host name, and for systems without /proc,
  such as macOS. A file that is empty or damaged is judged by its age, too.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.utils.files import read_json, sync_folder, write_json
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON

# An owner touches its file every 10 s. Twelve missed touches tolerate a slow network file system.
STALE_SECONDS = 120.0
TOUCH_SECONDS = 10.0
# Errors of `os.link` on file systems without hard links, such as exFAT and some mounted drives.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

# The leases that this process holds now. A lease with its number that is not among them is stale:
# its release failed, as on a full disk.
_held: set[Path] = set()
_held_lock = threading.Lock()


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


@dataclass(frozen=True)
class Place:
    """A PID namespace of one boot of one machine: here a process number means one process.

    Attributes:
      host: the name of the machine. Containers may share one, and so may machines.
      boot: the id of the kernel's boot. Copies of a virtual machine may share one.
      namespace: the PID namespace. Each container has its own.
    """

    host: str
    boot: str | None
    namespace: str | None

    @property
    def known(self) -> bool:
        """Whether processes of this place can be told from those of other places."""
        return self.boot is not None and self.namespace is not None


def current_owner(folder: Path) -> dict[str, JSON] | None:
    """Returns `host` and `pid` of the process that works on a cohort now, and the `file` that says
    so; or None.

    Host and pid are "unknown" if the file is damaged and not yet old enough to be stale.

    Args:
      folder: the cohort's folder.
    """
    newest = _newest(folder) if folder.is_dir() else None
    if newest is None or _is_stale(newest):
        return None
    return {"host": "unknown", "pid": "unknown", **_read(newest), "file": newest.name}


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
        _release(lease)


def _create(folder: Path, number: int) -> Lease | None:
    """Creates the lease with a number; returns None if another process was faster."""
    path = folder / f"lease.{number}"
    part = folder / f".lease.{number}.{_unique_name()}"
    place, pid = this_place(), os.getpid()
    content = {
        "host": place.host,
        "boot": place.boot,
        "namespace": place.namespace,
        "pid": pid,
        "started": _start_time(pid),
    }
    try:
        # On disk before it has its name: a machine that stops leaves no empty lease.
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        # Together: another thread must not find the new lease and take it for stale.
        with _held_lock:
            _give_name(part, path)
            _held.add(path.resolve())
        # A number that others have seen must not come back after the machine stopped.
        sync_folder(folder)
    except FileExistsError:
        return None
    except OSError:
        with _held_lock:
            _held.discard(path.resolve())
        raise
    finally:
        part.unlink(missing_ok=True)
    return Lease(path)


def _give_name(part: Path, path: Path) -> None:
    """Gives a file its name; raises FileExistsError if another file has it."""
    try:
        # Atomic: fails if the target exists, and no other process ever sees an empty file.
        os.link(part, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Here others may see an empty file for a moment, which is judged by its age.
        with path.open("xb") as file:
            file.write(part.read_bytes())
            file.flush()
            os.fsync(file.fileno())


def _release(lease: Lease) -> None:
    """Marks a lease as released; the next process need not wait until it is stale."""
    with _held_lock:
        _held.discard(lease.path.resolve())
    # Not removed: if a number came back, a slow owner of the earlier lease would believe that it
    # still owns the cohort.
    try:
        if lease.owns_lease():
            write_json(lease.path, {"released": True})
    except OSError as error:
        # Its work is done. The others see that this process has ended, or wait until it is stale.
        say(f"{lease.path}: could not be released: {error.strerror}")


def _keep_touching(lease: Lease, ended: threading.Event) -> None:
    """Touches a lease until the work has ended; `owns_lease` tells whether it was often enough."""
    told = False
    while not ended.wait(TOUCH_SECONDS):
        try:
            os.utime(lease.path)
        except OSError as error:
            # A network file system may be away for a moment: the next touch may succeed.
            if not told:
                say(f"{lease.path}: could not be touched: {error.strerror}; trying again")
            told = True


def _newest(folder: Path) -> Path | None:
    # The pattern leaves out copies and backups, such as lease.0~.
    paths = (path for path in folder.glob("lease.*") if re.fullmatch(r"lease\.[0-9]+", path.name))
    return max(paths, key=_number, default=None)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _read(path: Path) -> dict[str, JSON]:
    """Returns the content of a lease; an empty dict if it is damaged."""
    return read_json(path) or {}


def _is_stale(path: Path) -> bool:
    """Returns whether a lease was released, or its owner no longer works."""
    content = _read(path)
    if content.get("released"):
        return True
    here, pid = this_place(), content.get("pid")
    there = (content.get("host"), content.get("boot"), content.get("namespace"))
    if here.known and there == (here.host, here.boot, here.namespace) and isinstance(pid, int):
        # The process itself is a better witness than the file's age: a laptop may have slept.
        started = _start_time(pid)
        if not process_exists(pid) or started not in (None, content.get("started")):
            return True
        # Some systems do not show processes of other users: their leases are judged by age.
        if started is not None:
            with _held_lock:
                return pid == os.getpid() and path.resolve() not in _held
    try:
        age = _file_system_time(path.parent) - path.lstat().st_mtime
    except FileNotFoundError:
        return False  # the folder was removed this moment
    # A time in the future was not set by a touch either.
    return abs(age) > STALE_SECONDS


def this_place() -> Place:
    """Returns the place of this process; `boot` and `namespace` are None where nothing tells them.

    Example:
      this_place().host  # 'node7'
    """
    host = socket.gethostname()
    try:
        # /proc may show another PID namespace, in which the number of this process is another one.
        if os.readlink("/proc/self") != str(os.getpid()):
            return Place(host, None, None)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Place(host, boot, os.readlink("/proc/self/ns/pid"))
    except OSError:
        return Place(host, None, None)


def _start_time(pid: int) -> str | None:
    """Returns the start time of a process: the system gives its number to a new one later.

    None if nothing tells it; "ended" for a process that has ended and stays a zombie until its
    parent asks for it, as the first process of a container often never does.
    """
    try:
        # Fields 3 and 22 of stat, counted after the command, which may contain parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]


def _file_system_time(folder: Path) -> float:
    """Returns the time of the clock that stamps files.

    On a network file system that is the server's clock, which all machines share. Their own clocks
    may differ by more than `STALE_SECONDS`.
    """
    probe = folder / f".clock.{_unique_name()}"
    try:
        probe.touch()
        seconds = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        # A folder that this process may only read: it can look, and never takes a cohort.
        return time.time()
    return seconds


def _unique_name() -> str:
    """Returns a name that no other thread of any machine uses."""
    # Random, since containers may share host name and process number.
    return f"{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.{os.urandom(4).hex()}"


def process_exists(pid: int) -> bool:
    """Returns whether a process of this machine exists."""
    if pid < 1:
        return False  # numbers below 1 stand for groups of processes
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # it exists and belongs to another user
    return True
