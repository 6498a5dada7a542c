"""Checkpoints through orbax: atomic, the newest kept, host arrays so that devices may change.

Of several hosts the first alone saves and restores.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp


class Checkpoints:
    """The newest checkpoint of a pytree under a folder.

    Args:
      folder: where they are; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def save(self, step: int, tree: Any) -> None:
        """Saves host arrays, then removes the checkpoint before; a step that is there stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._manager() as manager:
            if manager.latest_step() != step:
                manager.save(step, args=ocp.args.StandardSave(tree), force=True)

    def latest_step(self) -> int | None:
        """Returns the step of the newest whole checkpoint, or None."""
        if not self.folder.is_dir():
            return None
        with self._manager() as manager:
            return manager.latest_step()

    def restore(self, like: Any = None) -> tuple[int, Any]:
        """Reads the newest checkpoint.

        Args:
          like: a pytree of arrays with the shapes and dtypes saved; None reads nested dicts.

        Returns:
          Its step, and the pytree.
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
        # The first host alone, which waits for no other.
        alone = ocp.options.MultiprocessingOptions(active_processes={0})
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            multiprocessing_options=alone,
            create=False,
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        return ocp.CheckpointManager(self.folder, item_handlers=handler, options=options)
