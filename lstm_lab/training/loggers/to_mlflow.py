"""MLflow: one MLflow run per run, in the experiment of the study, with the variant as a tag.

In: what `base.Logger` receives. Out: a run on the server of MLFLOW_TRACKING_URI; without it in
WORKDIR/mlflow.db, with images in WORKDIR/mlruns. The client takes the id of a run with every call,
so several members can train at once. MLflow's simpler functions know only one active run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_lab.training.loggers.base import Histogram, RunInfo, Value, is_successful
from lstm_lab.utils.files import locked

MOST_PARAMS = 100  # MLflow accepts no more in one call
LONGEST_PARAM = 6000  # characters


class MLflow:
    """Sends a run to MLflow.

    Example:
      ll.train("adding:lstm", log="mlflow")
    """

    _client: Any  # mlflow.MlflowClient: the package is optional
    _run: str

    def start(self, run: RunInfo) -> str:
        """Creates an MLflow run, or continues the one of an earlier process; returns its id."""
        from mlflow import MlflowClient
        from sqlalchemy import URL

        own_uri = os.environ.get("MLFLOW_TRACKING_URI")
        workdir = run.label.workdir.absolute()
        # Escaped, since a folder may be called "q?x". With the driver, since MLflow would otherwise
        # create the folder under its escaped name.
        database = URL.create("sqlite+pysqlite", database=str(workdir / "mlflow.db"))
        # Several processes of a study would create the same tables, and the same experiment.
        with locked(workdir / ".mlflow.lock"):
            self._client = MlflowClient(tracking_uri=own_uri or str(database))
            if run.external_id is not None:
                self._run = run.external_id
                self._client.update_run(self._run, status="RUNNING")
                return self._run
            experiment = self._experiment(
                os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.label.study,
                None if own_uri else (workdir / "mlruns").as_uri(),
            )
        tags = {
            "lstm_lab.id": run.id,
            "lstm_lab.study": run.label.study,
            "lstm_lab.variant": run.label.variant,
            "lstm_lab.folder": str(run.folder),
        }
        created = self._client.create_run(experiment, tags=tags, run_name=run.label.title)
        self._run = str(created.info.run_id)
        self._log_settings(run.settings)
        return self._run

    def _experiment(self, name: str, images: str | None) -> str:
        """Returns the id of an experiment, which is created if there is none."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=images))

    def _log_settings(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in settings.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + MOST_PARAMS])

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Logs numbers at a step. MLflow has no histograms."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        numbers = {k: v for k, v in values.items() if not isinstance(v, Histogram)}
        metrics = [Metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Logs an image at a step."""
        self._client.log_image(self._run, image, key=name, step=step, synchronous=True)

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Logs the scores at the step of the best weights, and ends the MLflow run."""
        # They exist if the process was killed between this call and the write of result.json.
        known = self._client.get_run(self._run).data.metrics
        new = {name: value for name, value in metrics.items() if name not in known}
        if new:
            self.log(int(metrics["best/step"]), new)
        self._client.set_tag(self._run, "lstm_lab.status", status)
        if status == "running":
            return
        failed = "KILLED" if status == "interrupted" else "FAILED"
        self._client.set_terminated(self._run, "FINISHED" if is_successful(status) else failed)
