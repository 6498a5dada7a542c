"""Weights & Biases: one W&B run per run, in the project of the study, grouped by variant.

In: what `base.Logger` receives. Out: a run on the server of the user's account, or with
WANDB_MODE=offline the folder WORKDIR/wandb, which `wandb sync` uploads. Variables that W&B reads
(WANDB_PROJECT, WANDB_ENTITY, WANDB_DIR, WANDB_MODE) replace the defaults of this file.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_lab.training.loggers.base import Histogram, RunInfo, Value, is_successful

LONGEST_NAME = 128  # characters; W&B accepts no more


def project_name(study: str) -> str:
    """Returns a name that W&B accepts for a project.

    Args:
      study: the name of a study or a task.

    Example:
      >>> project_name("my_task.py:Majority")
      'my_task.py-Majority'
    """
    return re.sub(r"[/\\#?%:]", "-", study)[:LONGEST_NAME]


class Wandb:
    """Sends a run to Weights & Biases.

    Example:
      ll.train("adding:lstm", log="wandb")
    """

    _run: Any  # wandb.Run: the package is optional
    _step = 0

    def start(self, run: RunInfo) -> str:
        """Begins a W&B run, or continues the one of an earlier process; returns its id."""
        import wandb

        # The same run in two folders has one id of lstm_lab, but needs two runs of W&B.
        name = run.external_id or f"{run.id}-{uuid.uuid4().hex[:6]}"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or project_name(run.label.study),
            group=os.environ.get("WANDB_RUN_GROUP") or run.label.variant[:LONGEST_NAME],
            name=run.label.title[:LONGEST_NAME],
            id=name,
            resume="allow",
            config={**run.settings, "lstm_lab.id": run.id, "lstm_lab.folder": str(run.folder)},
            dir=os.environ.get("WANDB_DIR") or str(run.label.workdir),
            # Several members train at once. The default would give them all one run.
            reinit="create_new",
            settings=wandb.Settings(
                # The output and the load of the process belong to several members at once.
                console="off",
                x_disable_stats=True,
                silent=True,
                # Seconds. With the default, a killed offline run would lose the last 15 seconds.
                x_transaction_log_flush_interval=1.0,
            ),
        )
        return name

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Logs numbers and histograms at a step.

        Steps of W&B cannot become smaller. After a rollback it gets nothing until the run has
        passed the step at which it diverged.
        """
        import wandb

        if step < self._step:
            return
        self._step = step
        ready: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, Histogram):
                edges = np.linspace(value.low, value.high, len(value.counts) + 1)
                ready[name] = wandb.Histogram(np_histogram=(np.asarray(value.counts), edges))
            else:
                ready[name] = value
        # W&B joins all values of a step, and writes them when the next step comes: see
        # `choose.LATE`.
        self._run.log(ready, step=step)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Logs an image. Those of the best weights come at the end, with their step as caption."""
        import wandb

        media = wandb.Image(image, caption=f"step {step}")
        self._run.log({name: media}, step=max(step, self._step))

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Puts the scores into the summary, and finishes the W&B run."""
        self._run.summary.update({**metrics, "status": status})
        ended_well = is_successful(status) or status in ("interrupted", "running")
        self._run.finish(exit_code=0 if ended_well else 1)
