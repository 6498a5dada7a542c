"""The user's cache: folders and files that nobody else could have written.

In: the name of a part of the cache. Out: its folder, or the reason why it cannot be used. The cache
holds machine code, so what another user wrote there must not be loaded.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def cache_folder(name: str) -> tuple[Path, str | None]:
    """Returns the folder of a part of the cache, created for this user alone.

    Args:
      name: the name of the part, as "kernel".

    Returns:
      The folder, and None or the reason why it cannot be used: it cannot be written, or other users
      can write to it.

    Example:
      folder, reason = cache_folder("kernel")
    """
    folder = cache_root() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            # A folder of an earlier version may have the rights of the user's umask.
            folder.chmod(0o700)
    except OSError as error:
        return folder, f"{error.filename}: {error.strerror}"
    if not os.access(folder, os.W_OK):
        return folder, f"{folder}: it cannot be written"
    return folder, foreign_reason(folder)


def cache_root() -> Path:
    """Returns the folder of all parts: $XDG_CACHE_HOME/lstm_lab, or ~/.cache/lstm_lab."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # Not `expanduser`: it raises an error for a user without a home folder.
    return Path(os.path.expanduser(base)) / "lstm_lab"


def foreign_reason(path: Path) -> str | None:
    """Returns why a file or folder may hold what another user wrote, or None.

    Args:
      path: the file or folder; a link counts as itself.

    Raises:
      OSError: if it does not exist.
    """
    info = path.lstat()
    # Root can write everywhere anyway.
    if info.st_uid not in (os.geteuid(), 0):
        return f"{path}: it belongs to another user"
    if stat.S_ISLNK(info.st_mode):
        return f"{path}: it is a link"
    if info.st_mode & 0o022:
        return f"{path}: other users can write to it"
    return None
