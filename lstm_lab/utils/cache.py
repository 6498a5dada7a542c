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
      can write to it or to a folder of the cache above it.

    Example:
      folder, reason = cache_folder("kernel")
    """
    root = cache_root()
    # A user may keep the cache on another disk; the checks are then those of the folder there.
    root = root.resolve() if root.is_symlink() else root
    folder = root / name
    levels = [root, *reversed([p for p in folder.parents if root in p.parents]), folder]
    try:
        root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # From the top: whoever can write to a folder can put another one in the place of a folder
        # in it, also after the check.
        for level in levels:
            if reason := _private(level):
                return folder, reason
    except OSError as error:
        return folder, f"{error.filename}: {error.strerror}"
    if not os.access(folder, os.W_OK):
        return folder, f"{folder}: it cannot be written"
    return folder, None


def _private(folder: Path) -> str | None:
    """Makes a folder private, creating it if needed; returns why others may write to it, or None.

    Raises:
      OSError: if it cannot be created.
    """
    # `mkdir(parents=True)` would give the folders above it the rights of the user's umask.
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        return f"{folder}: Not a directory"
    info = folder.lstat()
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
        # A folder of an earlier version may have these rights.
        folder.chmod(0o700)
    return foreign_reason(folder)


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
