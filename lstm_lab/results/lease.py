"""Who works on what: claims on cohorts, which processes of any machine take in the study's folder.

A claim is a file of a rising number, made so that only one process can make it. Its owner touches
it while it works. A claim whose process on this machine is gone, or that another machine's process
has not touched for a while, is stale: the next number takes over, and an owner that was only slow
sees that it has lost.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lstm_lab.utils.files import read_json, write_json

STALE_SECONDS = 120.0
TOUCH_SECONDS = 10.0


class Claim:
    """A claim that this process holds.

    Args:
      path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def held(self) -> bool:
        """Whether no other process has taken it over."""
        newest = _newest(self.path.parent)
        return newest is not None and newest == self.path


def holder(folder: Path) -> dict[str, Any] | None:
    """Returns who works in a folder now, or None."""
    newest = _newest(folder) if folder.is_dir() else None
    if newest is None or _stale(newest):
        return None
    content: dict[str, Any] | None = read_json(newest)
    return content


@contextmanager
def claimed(folder: Path) -> Iterator[Claim | None]:
    """Holds a folder's claim, or gives None where another process does.

    Args:
      folder: the cohort's folder; made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = _newest(folder)
    if newest is not None and not _stale(newest):
        yield None
        return
    claim = _make(folder, 0 if newest is None else _number(newest) + 1)
    if claim is None:
        yield None
        return
    ended = threading.Event()
    thread = threading.Thread(target=_keep_touching, args=(claim, ended), daemon=True)
    thread.start()
    try:
        yield claim
    finally:
        ended.set()
        thread.join()
        # What is left is marked as over, not removed: a number that was used never comes back.
        if claim.held:
            write_json(claim.path, {"over": True})


def _make(folder: Path, number: int) -> Claim | None:
    """Makes the claim of a number; None where another process was first."""
    path = folder / f"claim.{number}"
    part = folder / f".claim.{number}.{_own_name()}"
    pid = os.getpid()
    content = {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}
    part.write_text(json.dumps(content))
    try:
        os.link(part, path)  # fails where it exists, and never shows an empty file
    except FileExistsError:
        return None
    finally:
        part.unlink()
    return Claim(path)


def _keep_touching(claim: Claim, ended: threading.Event) -> None:
    while not ended.wait(TOUCH_SECONDS):
        os.utime(claim.path)


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("claim.*"), key=_number, default=None)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _stale(path: Path) -> bool:
    """Returns whether nobody works under a claim any more."""
    try:
        content = json.loads(path.read_text())
        age = _file_system_time(path.parent) - path.stat().st_mtime
    except (OSError, ValueError):
        return False  # another process is about to take over
    if content.get("over"):
        return True
    if content["host"] == socket.gethostname():
        # However long ago it was touched: a machine may have slept.
        pid = content["pid"]
        return not alive(pid) or _started(pid) != content["started"]
    return age > STALE_SECONDS


def _started(pid: int) -> str | None:
    """Returns when a process began, which tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _file_system_time(folder: Path) -> float:
    """Returns the time by the clock that stamps files, which several machines share."""
    probe = folder / f".clock.{_own_name()}"
    probe.touch()
    seconds = probe.stat().st_mtime
    probe.unlink()
    return seconds


def _own_name() -> str:
    """Returns what no other thread of any machine is called."""
    return f"{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"


def alive(pid: int) -> bool:
    """Returns whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
