"""Aim: one Aim run per run, in the experiment of the study, with the variant as a tag.

In: what `base.Logger` receives. Out: a run in the repository that AIM_REPO names (a folder, or
aim://HOST:PORT); without it in WORKDIR/.aim. This variable is ours: Aim does not read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_lab.training.loggers.base import Histogram, RunInfo, Value
from lstm_lab.utils.files import locked


class Aim:
    """Sends a run to Aim.

    Example:
      ll.train("adding:lstm", log="aim")
    """

    _run: Any  # aim.Run: the package is optional

    def start(self, run: RunInfo) -> str:
        """Creates an Aim run, or continues the one of an earlier process; returns its hash."""
        workdir = run.label.workdir.absolute()
        # Several processes of a study would create the same repository.
        with locked(workdir / ".aim.lock"):
            repository = _repository(os.environ.get("AIM_REPO") or str(workdir))
        self._run = _open(repository, run)
        if run.external_id is None:
            self._run.name = run.label.title
            self._run.add_tag(run.label.variant)
            self._run["settings"] = dict(run.settings)
            self._run["lstm_lab"] = {
                "id": run.id,
                "study": run.label.study,
                "variant": run.label.variant,
                "folder": str(run.folder),
            }
        return str(self._run.hash)

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Tracks numbers and histograms at a step; a repeated step replaces the old values."""
        import aim

        for name, value in values.items():
            if isinstance(value, Histogram):
                bounds = (value.low, value.high)
                self._run.track(
                    aim.Distribution(hist=np.asarray(value.counts), bin_range=bounds),
                    name=name,
                    step=step,
                )
            else:
                self._run.track(value, name=name, step=step)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Tracks an image at a step."""
        import aim

        self._run.track(aim.Image(image), name=name, step=step)

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Stores the scores and the status as attributes of the run, and closes it."""
        self._run["status"] = status
        if metrics:
            self._run["scores"] = dict(metrics)
        self._run.close()


def _repository(path: str) -> Any:
    """Opens a repository, or creates it in a folder that has none."""
    import aim

    if "://" in path or aim.Repo.exists(path):
        return aim.Repo.from_path(path)
    return aim.Repo(path, init=True)


def _open(repository: Any, run: RunInfo) -> Any:
    import aim
    from aim.sdk.errors import RunLockingError
    from filelock import Timeout

    options = {
        "repo": repository,
        "experiment": run.label.study,
        # The output and the load of the process belong to several members at once.
        "system_tracking_interval": None,
        "capture_terminal_logs": False,
    }
    try:
        return aim.Run(run.external_id, **options)
    except (RunLockingError, Timeout):
        # A process that was killed on another machine left its lock. We hold our own lock on the
        # run's folder, so no other process writes there now.
        return aim.Run(run.external_id, force_resume=True, **options)
