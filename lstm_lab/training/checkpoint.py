"""Checkpoints by orbax: written atomically, each with the hashes of its files; the newest are kept.

They hold host arrays, so that a run may continue on another number of devices. With several hosts,
only host 0 saves and restores; `multihost.py` broadcasts what it read.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lstm_lab.config.weights_source import recorded_hash
from lstm_lab.models.weights import named_weights, weights_hash
from lstm_lab.results.intact import HASHES, TRAIN_AGAIN
from lstm_lab.results.run_files import read_head
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import ABSENT, read_json, sync_folder, write_json
from lstm_lab.utils.types import PyTree

if TYPE_CHECKING:
    from orbax.checkpoint import Checkpointer

# In the folder of a checkpoint, next to `HASHES`: the arrays as orbax writes them.
ARRAYS = "default"
# Bytes of its own files in a checkpoint of a small model, and some more.
_FILES_OF_ORBAX = 100_000


class DamagedCheckpointError(Exception):
    """A checkpoint that cannot be restored; the message is the reason, one line."""


@dataclass(frozen=True)
class Restored:
    """What `Checkpoints.restore` found.

    Attributes:
      step: the number of the checkpoint that was read, or None if none could be.
      tree: its arrays, or None.
      damaged: the path of each newer checkpoint that could not be read, with the reason.
    """

    step: int | None
    tree: PyTree
    damaged: tuple[tuple[Path, str], ...]

    def notices(self) -> list[str]:
        """Returns a line for each checkpoint that could not be read, and what is used instead."""
        lines = [f"note: the checkpoint {path} is damaged: {why}" for path, why in self.damaged]
        if self.damaged and self.step is None:
            lines.append("note: no other checkpoint is left: training starts again")
        elif self.damaged:
            lines.append("note: training continues from the checkpoint before")
        return lines


class Checkpoints:
    """The newest checkpoints of a pytree under a folder.

    Args:
      folder: the folder; the first `save` creates it. Nothing else may be in it.
      keep: how many checkpoints stay. With two, a damaged one costs the steps since the one before.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder.absolute(), keep
        self._damaged: set[int] = set()  # those that this process could not read

    def save(self, step: int, tree: PyTree) -> None:
        """Saves host arrays and removes older checkpoints and what killed processes left.

        Args:
          step: the number of the checkpoint, higher than those that exist.
          tree: the arrays.

        Raises:
          OSError: if the folder cannot be written, as on a full disk; it names the folder.
        """
        path = self.folder / str(step)
        part = self.folder / f".{step}.{os.getpid()}"
        try:
            _remove(part)
            part.mkdir(parents=True)
            _check_space(part, tree)
            _write(part / ARRAYS, tree)
            write_json(part / HASHES, _hashes(part))
            _remove(path)
            # Last, and in one piece: a folder with a number is a whole checkpoint.
            os.replace(part, path)
            sync_folder(self.folder)
            self._damaged.discard(step)
            self._remove_older(step)
        except OSError as error:
            with suppress(OSError):
                _remove(part)
            raise OSError(error.errno, error.strerror, str(path)) from error

    def steps(self) -> list[int]:
        """Returns the numbers of all checkpoints, damaged or not, the newest first."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:
            return []
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def restore(
        self,
        like: PyTree = None,
        *,
        any_lanes: bool = False,
        accepts: Callable[[PyTree], bool] = lambda tree: True,
    ) -> Restored:
        """Reads the newest checkpoint that is whole. Nothing is changed on disk.

        Args:
          like: a pytree of arrays with the saved shapes and dtypes; None reads nested dicts.
          any_lanes: the first axis may have another length than in `like`, the same in all arrays.
          accepts: whether a whole checkpoint is one that the caller can use.

        Returns:
          The checkpoint, and those that were damaged.
        """
        damaged: list[tuple[Path, str]] = []
        for step in self.steps():
            path = self.folder / str(step)
            try:
                tree = _read(path, like, any_lanes)
                if accepts(tree):
                    return Restored(step, tree, tuple(damaged))
            except DamagedCheckpointError as error:
                damaged.append((path, str(error)))
                # It stays for the user to look at until the next one is written.
                self._damaged.add(step)
        return Restored(None, None, tuple(damaged))

    def clear(self) -> None:
        """Removes all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_older(self, step: int) -> None:
        whole = [n for n in self.steps() if n <= step and n not in self._damaged]
        kept = whole[: self.keep]
        for path in self.folder.iterdir():
            # Not those with higher numbers: another process that took the cohort over wrote them.
            found = re.fullmatch(r"(\d+)|\.(\d+)\.\d+", path.name)
            number = int(found[1] or found[2]) if found else -1
            if number > step or (found and found[1] and number in kept):
                continue
            _remove(path)


def best_weights(folder: Path, setting: str, like: PyTree = None) -> PyTree:
    """Returns the best weights of a finished run.

    Args:
      folder: the folder of the run.
      setting: what named it, for errors.
      like: as in `Checkpoints.restore`.

    Raises:
      UserError: if they are missing or damaged, or not those that the run recorded.

    Example:
      best_weights(Path("runs/imdb"), "workdir")["head"]["kernel"].shape  # (128, 2)
    """
    best = Checkpoints(folder / "checkpoints" / "best").restore(like)
    for path, reason in best.damaged:
        raise UserError(f"{setting}: the weights in {path} are damaged: {reason}; {TRAIN_AGAIN}")
    if best.step is None:
        status = (read_head(folder) or {}).get("status")
        if status == "completed":
            raise UserError(f"{setting}: the weights of {folder} are missing; {TRAIN_AGAIN}")
        raise UserError(f"{setting}: {folder} has no weights; the run is {status}")
    # The files of a checkpoint that was put in its place agree with their own hashes.
    recorded = recorded_hash(folder)
    if recorded is not None and weights_hash(named_weights(best.tree)) != recorded:
        raise UserError(
            f"{setting}: the weights of {folder} are not those that its result.json records; "
            f"{TRAIN_AGAIN}"
        )
    return best.tree


def _check_space(folder: Path, tree: PyTree) -> None:
    """Raises OSError if the disk has no space for arrays.

    Before orbax begins: of a full disk it prints pages about its threads.
    """
    needed = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))
    if shutil.disk_usage(folder).free < needed + _FILES_OF_ORBAX:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(path: Path) -> None:
    """Removes a file or a folder, as far as the file system permits it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class _Quiet(logging.Filter):
    """Hides all messages that are not fatal."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL


@contextmanager
def _orbax() -> Iterator[Checkpointer]:
    """Gives orbax's writer and reader; its remarks about itself are nothing that a user can use."""
    # Late, here and below: it takes a quarter of a second, which the first step need not wait for.
    import orbax.checkpoint as ocp

    # Without this, orbax would wait for the other hosts, which never call it.
    alone = ocp.options.MultiprocessingOptions(active_processes={0})
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    logger, quiet = logging.getLogger("absl"), _Quiet()
    # Not its level: several threads save at the same time, and each would restore another one.
    logger.addFilter(quiet)
    try:
        # Not asynchronous: a checkpoint is on disk before the record says that the step was done.
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            yield checkpointer
    finally:
        logger.removeFilter(quiet)


def _read(path: Path, like: PyTree, any_lanes: bool) -> PyTree:
    """Reads one checkpoint.

    Raises:
      DamagedCheckpointError: if anything is wrong with its content.
      OSError: if it cannot be read now: another process, or a later one, may be able to.
    """
    import orbax.checkpoint as ocp

    verified = _verify(path)
    try:
        with _orbax() as orbax:
            if like is not None:
                saved = orbax.metadata(path / ARRAYS).item_metadata
                if saved is None:
                    raise DamagedCheckpointError("the shapes of its arrays cannot be read")
                _compare(_shapes(saved.tree), _shapes(like), any_lanes)
            return orbax.restore(path / ARRAYS, args=ocp.args.StandardRestore(like))
    except (DamagedCheckpointError, OSError, MemoryError):
        raise
    # Orbax and tensorstore raise many types, and more with each version.
    except Exception as error:
        # Of tensorstore: the files are whole, so the system did not let it read them. Other types
        # are those of orbax, for a content that it does not know.
        if verified and isinstance(error, ValueError | RuntimeError):
            raise _failed(error, path) from error
        line = str(error).partition("\n")[0][:200]
        raise DamagedCheckpointError(f"{type(error).__name__}: {line}") from error


def _write(path: Path, tree: PyTree) -> None:
    """Writes arrays; raises OSError if the disk or a limit of the process prevents it."""
    import orbax.checkpoint as ocp

    try:
        with _orbax() as orbax:
            orbax.save(path, args=ocp.args.StandardSave(tree))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise _failed(error, path) from error


def _failed(error: Exception, path: Path) -> OSError:
    """Returns what orbax or tensorstore raised as an error of the system.

    Their files are right, so it is no damage: they have too few file descriptors, or a quota ends.
    """
    line = str(error).partition("\n")[0][:200]
    return OSError(errno.EIO, f"orbax: {type(error).__name__}: {line}", str(path))


def _verify(path: Path) -> bool:
    """Compares the files of a checkpoint with their hashes; returns whether it has hashes."""
    recorded = read_json(path / HASHES)
    if recorded is None:
        # Checkpoints of version 0.1 have no hashes, but this file.
        if not (path / HASHES).exists() and (path / "_CHECKPOINT_METADATA").is_file():
            return False
        raise DamagedCheckpointError(f"{HASHES} is missing or damaged")
    try:
        found = _hashes(path)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        raise DamagedCheckpointError(f"{error.filename}: {error.strerror}") from error
    for name, sha256 in recorded.items():
        if found.get(name) != sha256:
            what = "has changed" if name in found else "is missing"
            raise DamagedCheckpointError(f"{name} {what}")
    return True


def _hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file under a folder, by its path; not of the hashes' own file."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / HASHES:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = sha256
    return hashes


def _shapes(tree: PyTree) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and the dtype of each array, by its path in the tree."""
    import orbax.checkpoint as ocp

    leaves: dict[tuple[str, ...], Any] = ocp.tree.to_flat_dict(tree)
    return {
        ".".join(map(str, name)): (tuple(leaf.shape), str(leaf.dtype))
        for name, leaf in leaves.items()
        if leaf is not None
    }


def _compare(
    saved: dict[str, tuple[tuple[int, ...], str]],
    expected: dict[str, tuple[tuple[int, ...], str]],
    any_lanes: bool,
) -> None:
    """Raises DamagedCheckpointError for arrays of other names, shapes or dtypes than expected.

    Orbax would convert the dtype and ignore the shape, and training would fail later, or continue
    with wrong values.
    """
    if saved.keys() != expected.keys():
        name = min(saved.keys() ^ expected.keys())
        raise DamagedCheckpointError(f"it is of another model or version: {name}")
    lanes = {shape[0] for shape, _ in saved.values() if shape}
    for name, (shape, dtype) in expected.items():
        got = saved[name]
        fits = len(lanes) == 1 and got[0][1:] == shape[1:] and len(got[0]) == len(shape)
        if got != (shape, dtype) and not (any_lanes and fits and got[1] == dtype):
            raise DamagedCheckpointError(
                f"{name} is {got[1]} {list(got[0])}, expected {dtype} {list(shape)}"
            )
