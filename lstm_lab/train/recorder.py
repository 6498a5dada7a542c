"""What a run leaves on disk: run.json, metrics.jsonl, TensorBoard events, result.json."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from tensorboardX import SummaryWriter, summary
from tensorboardX.proto.api_pb2 import Status as HParamsStatus
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

from lstm_lab.config.ids import group_id, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.config.user_code import cell_path
from lstm_lab.tasks import metrics_of
from lstm_lab.train.gate_stats import LOG_TIMES, Layer, picture
from lstm_lab.train.layout import Layout
from lstm_lab.utils.files import (
    finite,
    flatten,
    read_json,
    read_lines,
    valid_by_step,
    write_json,
    write_lines,
)

Status = Literal[
    "running", "completed", "diverged", "pruned", "interrupted", "out_of_memory", "failed"
]
SCHEMA = 1
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "lstm-lab")


@cache
def provenance() -> dict[str, Any]:
    """Returns what a result depends on beside its spec: command, code, versions, machine."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD") if shutil.which("git") else None
    device = jax.local_devices()[0]
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": {"commit": commit, "dirty": bool(git("status", "--porcelain")) if commit else None},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "machine": {
            "platform": device.platform,
            "device": device.device_kind,
            "processor": platform.machine(),
            "threads": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
        },
    }


class RunRecord:
    """Writes a run's folder.

    Args:
      folder: WORKDIR, or STUDY/runs/<id>.
      spec: the run.
      layout: how its cohort lies on the devices.
      overrides: settings given on the command line.
      parameters: rows (name, shape, count) of the parameter table.
      resumed_at: the checkpoint's step to go on from, or None for a new run.
    """

    def __init__(
        self,
        folder: Path,
        spec: RunSpec,
        layout: Layout,
        *,
        provenance: dict[str, Any],
        overrides: dict[str, str],
        parameters: list[tuple[str, str, int]],
        resumed_at: int | None,
    ) -> None:
        self.folder, self.spec = folder, spec
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = [
            row
            for row in read_lines(folder / "metrics.jsonl")
            if resumed_at is not None and row["step"] <= resumed_at
        ]
        before = read_json(folder / "run.json") or {}
        self.head = {
            "schema": SCHEMA,
            "id": run_id(spec),
            "group": group_id(spec),
            "spec": to_json(spec),
            "overrides": overrides or before.get("overrides", {}),
            "seeds": spec.seeds,
            "layout": asdict(layout),
            "backend": ", ".join(layout.backends(spec)),
            **provenance,
            "started": before.get("started") if resumed_at is not None else None,
            "resumed_at": [*before.get("resumed_at", []), resumed_at]
            if resumed_at is not None
            else [],
            "pid": os.getpid(),
            "status": "running",
        }
        self.head["started"] = self.head["started"] or time.time()
        # First, since a folder with anything else and without it is not taken for a run.
        write_json(folder / "run.json", self.head)
        source = cell_path(spec.model)
        if source is not None:
            shutil.copyfile(source, folder / "cell.py")
        write_lines(folder / "metrics.jsonl", self.rows)
        if resumed_at is None:
            for events in folder.glob("events.out.tfevents.*"):
                events.unlink()
        self._metrics = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._events = SummaryWriter(
            str(folder), purge_step=None if resumed_at is None else resumed_at + 1
        )
        if resumed_at is None:
            self._describe(parameters)

    @property
    def seconds(self) -> float:
        """Training seconds of the rows kept, of all the run's processes."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def _describe(self, parameters: list[tuple[str, str, int]]) -> None:
        """Writes the text tab and the hyperparameters' start."""
        settings = flatten(to_json(self.spec))
        table = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
        self._events.add_text("spec", f"| setting | value |\n|---|---|\n{table}", 0)
        rows = "\n".join(f"| {name} | {shape} | {count:,} |" for name, shape, count in parameters)
        total = sum(count for _, _, count in parameters)
        self._events.add_text(
            "parameters",
            f"| parameter | shape | count |\n|---|---|---|\n{rows}\n| total | | {total:,} |",
            0,
        )
        hparams = {key: "none" if v is None else v for key, v in settings.items()}
        hparams = {
            k: v if isinstance(v, (str, bool, int, float)) else str(v) for k, v in hparams.items()
        }
        metrics = {
            f"{s}/{m}": 0 for s in ("valid", "test") for m in metrics_of(self.spec.task.target)
        }
        experiment, start, _ = summary.hparams(hparams, metrics)
        assert self._events.file_writer is not None
        self._events.file_writer.add_summary(experiment)
        self._events.file_writer.add_summary(start)

    def write(self, row: dict[str, Any], optim: dict[str, float] | None = None) -> None:
        """Appends a line of metrics, and the same to TensorBoard.

        Args:
          row: `step`, `split`, counters and metric values, JSON-ready.
          optim: numbers of the optimiser for TensorBoard's `optim/`, or None.
        """
        line = finite({**row, **(optim or {})})
        self.rows.append(line)
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()
        for metric in ("loss", *metrics_of(self.spec.task.target)):
            if metric in row:
                self._events.add_scalar(f"{row['split']}/{metric}", row[metric], row["step"])
        for name, value in (optim or {}).items():
            self._events.add_scalar(f"optim/{name}", value, row["step"])

    def perf(self, step: int, **values: float) -> None:
        """Writes `perf/` scalars to TensorBoard."""
        for name, value in values.items():
            self._events.add_scalar(f"perf/{name}", value, step)

    def gates(self, step: int, layers: dict[str, Layer]) -> None:
        """Writes what gates and states do to TensorBoard: numbers and histograms."""
        for layer, found in layers.items():
            for gate, seen in found.gates.items():
                tag = f"gates/{layer}/{gate}"
                self._events.add_scalar(f"{tag}/mean", float(seen.mean), step)
                self._events.add_scalar(f"{tag}/frac_below_0.1", float(seen.below), step)
                self._events.add_scalar(f"{tag}/frac_above_0.9", float(seen.above), step)
                self._histogram(f"{tag}/values", seen.counts, (0.0, 1.0), step)
            if found.c_norm is not None:
                self._events.add_scalar(f"state/{layer}/c_norm", float(found.c_norm), step)
            if found.time_counts is not None:
                tag = f"state/{layer}/log10_time_constant"
                self._histogram(tag, found.time_counts, LOG_TIMES, step)

    def pictures(self, step: int, layers: dict[str, Layer]) -> None:
        """Writes images of each gate over time, for one sequence, to TensorBoard."""
        for layer, found in layers.items():
            for gate, values_TH in found.maps.items():
                self._events.add_image(
                    f"gates/{layer}/{gate}", picture(values_TH), step, dataformats="HWC"
                )

    def _histogram(
        self, tag: str, counts: np.ndarray, bounds: tuple[float, float], step: int
    ) -> None:
        edges = np.linspace(*bounds, len(counts) + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        self._events.add_histogram_raw(
            tag,
            min=bounds[0],
            max=bounds[1],
            num=int(counts.sum()),
            sum=float(counts @ middles),
            sum_squares=float(counts @ middles**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def valid_at(self, step: int) -> dict[str, float]:
        """Returns the validation metrics of a step."""
        names = metrics_of(self.spec.task.target)
        for row in self.rows:
            if row["split"] == "valid" and row["step"] == step:
                return {name: row[name] for name in names}
        return {}

    def valid(self, metric: str) -> dict[int, float]:
        """Returns a validation metric by step, where it is finite."""
        return valid_by_step(self.rows, metric)

    def close(self) -> None:
        """Closes the files, and says nothing of how the run ended."""
        self._events.close()
        self._metrics.close()

    def finish(self, status: Status, result: dict[str, Any] | None, reason: str = "") -> None:
        """Closes the run; with a result, result.json is written last."""
        if result is not None:
            for metric, value in result["test"].items():
                self._events.add_scalar(f"test/{metric}", value, result["best"]["step"])
        code = {
            "completed": "STATUS_SUCCESS",
            "pruned": "STATUS_SUCCESS",
            "interrupted": "STATUS_UNKNOWN",
        }
        end = SessionEndInfo(status=HParamsStatus.Value(code.get(status, "STATUS_FAILURE")))
        content = HParamsPluginData(session_end_info=end, version=0).SerializeToString()
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        value = Summary.Value(
            tag="_hparams_/session_end_info", metadata=SummaryMetadata(plugin_data=plugin)
        )
        assert self._events.file_writer is not None
        self._events.file_writer.add_summary(Summary(value=[value]))
        self.close()
        self.head |= {"status": status, "reason": reason, "ended": time.time()}
        write_json(self.folder / "run.json", self.head)
        if result is not None:
            write_json(self.folder / "result.json", result)
