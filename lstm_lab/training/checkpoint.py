"""Checkpoints by orbax: written atomically, only the newest is kept.

They hold host arrays, so that a run may continue on another number of devices. With several hosts,
only host 0 saves and restores; `multihost.py` broadcasts what it read.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import orbax.checkpoint as ocp

from lstm_lab.utils.types import PyTree


class Checkpoints:
    """The newest checkpoint of a pytree under a folder.

    Args:
      folder: the folder; the first `save` creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def save(self, step: int, tree: PyTree) -> None:
        """Saves host arrays and removes the older checkpoint; an existing step is not replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._manager() as manager:
            if manager.latest_step() != step:
                manager.save(step, args=ocp.args.StandardSave(tree), force=True)

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, or None."""
        if not self.folder.is_dir():
            return None
        with self._manager() as manager:
            return cast(int | None, manager.latest_step())

    def restore(self, like: PyTree = None) -> tuple[int, PyTree]:
        """Reads the newest checkpoint.

        Args:
          like: a pytree of arrays with the saved shapes and dtypes; None reads nested dicts.

        Returns:
          The step and the pytree.
        """
        with self._manager() as manager:
            step = manager.latest_step()
            if step is None:
                raise FileNotFoundError(f"no checkpoint under {self.folder}")
            return step, manager.restore(step, args=ocp.args.StandardRestore(like))

    def clear(self) -> None:
        """Removes all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _manager(self) -> ocp.CheckpointManager:
        # Without this, orbax would wait for the other hosts, which never call it.
        alone = ocp.options.MultiprocessingOptions(active_processes={0})
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            # A checkpoint has to be on disk before the record says that the step was done.
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            multiprocessing_options=alone,
            create=False,
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        return ocp.CheckpointManager(self.folder, item_handlers=handler, options=options)
