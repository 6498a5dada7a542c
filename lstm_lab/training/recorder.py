"""The record of one run on disk: run.json, metrics.jsonl, result.json; and what its loggers get.

`RunRecorder` is opened when a run gets a lane and finished when the run ends. result.json is
written last and in one piece, so a run with a result is complete. Read `loggers/run_loggers.py`
next: TensorBoard and other loggers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Literal

import jax

from lstm_lab.config.ids import group_id, redefinitions, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.config.user_code import cell_path, task_path
from lstm_lab.recurrence import own_device_type
from lstm_lab.results.intact import record_files
from lstm_lab.results.run_files import read_rows, read_settings, write_result
from lstm_lab.tasks import metric_names
from lstm_lab.training.gate_stats import LayerStats, gate_images, gate_values
from lstm_lab.training.layout import Layout
from lstm_lab.training.loggers.base import RunInfo, RunLabel, single_label
from lstm_lab.training.loggers.run_loggers import Delivery, Row, RunLoggers, read_deliveries
from lstm_lab.utils.allocator import policy
from lstm_lab.utils.files import (
    ABSENT,
    finite,
    flatten,
    json_lines,
    remove_parts,
    valid_by_step,
    write_json,
    write_lines,
)
from lstm_lab.utils.types import JSON

Status = Literal[
    "running", "completed", "diverged", "pruned", "interrupted", "out_of_memory", "failed"
]
SCHEMA = 2  # of run.json
INITIAL = "initial_weights"  # the key of what came from `model.init_from`
# Numbers of the optimizer in a row of metrics.jsonl.
OPTIM = ("lr", "grad_norm", "update_ratio")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "lstm-lab")


@cache
def provenance() -> dict[str, JSON]:
    """Returns what a result depends on besides its spec: command, code, versions, machine."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent
        )
        return done.stdout.strip() if done.returncode == 0 else None

    # Not an error without git: the package may be installed from a wheel.
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
            # The cores that this process may use, which a cluster may limit.
            "threads": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "allocator": policy(),
        },
    }


@dataclass(frozen=True)
class Resumed:
    """The step at which a run continues, and the length of its record then.

    Attributes:
      step: optimizer steps that are done.
      rows: lines of metrics.jsonl that belong to them.
    """

    step: int
    rows: int


def has_rows(folder: Path, rows: int, expected: bytes) -> bool:
    """Returns whether the first lines of a run's record are whole.

    By their hash and not by the step of the last one: an evaluation writes two lines with one step.

    Args:
      folder: the run's folder.
      rows: how many lines.
      expected: their SHA-256.
    """
    try:
        with (folder / "metrics.jsonl").open("rb") as file:
            lines = b"".join(islice(file, rows))
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return False
    return hashlib.sha256(lines).digest() == expected and read_settings(folder) is not None


class RunRecorder:
    """Writes a run's folder.

    Args:
      folder: WORKDIR, or STUDY/runs/<id>.
      spec: the run.
      layout: how its cohort lies on the devices.
      head: what run.json holds of the process: `overrides` and `provenance()`.
      parameters: rows (name, shape, count) of the parameter table.
      resumed: where a checkpoint continues the run, or None for a new run.
      label: what loggers call the run; None for a run that belongs to no study.
    """

    def __init__(
        self,
        folder: Path,
        spec: RunSpec,
        layout: Layout,
        *,
        head: Mapping[str, JSON],
        parameters: list[tuple[str, str, int]],
        resumed: Resumed | None,
        label: RunLabel | None = None,
    ) -> None:
        self.folder, self.spec = folder, spec
        self.metric_names = metric_names(spec.task.target)
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        written = read_rows(folder)
        # Rows after the checkpoint come from steps that will be repeated.
        self.rows = written[: resumed.rows] if resumed else []
        self._hash = hashlib.sha256(json_lines(self.rows).encode())
        resumed_at = None if resumed is None else resumed.step
        earlier = read_settings(folder) or {}
        # None for a new run: its bits depend on the backend of this process alone.
        self.backend_before: str | None = earlier.get("backend") if resumed else None
        deliveries = read_deliveries(earlier, [row["step"] for row in written])
        self.head = self._new_head(layout, head, earlier, resumed_at)
        # Before the rows are cut off, whose number it holds.
        self.head["loggers"] = {name: known._asdict() for name, known in deliveries.items()}
        # First, since a folder that holds anything else and no run.json is not taken for a run.
        write_json(folder / "run.json", self.head)
        for source, name in (
            (cell_path(spec.model), "cell.py"),
            (task_path(spec.task.name), "task.py"),
        ):
            if source is not None:
                shutil.copyfile(source, folder / name)
        if self.rows:
            write_lines(folder / "metrics.jsonl", self.rows)
        # Kept open: opening a file per row costs more than the row on a network file system.
        mode = "a" if self.rows else "w"
        self._metrics = (folder / "metrics.jsonl").open(mode, encoding="utf-8")
        self._loggers = self._start_loggers(label, parameters, resumed_at, deliveries)

    def _start_loggers(
        self,
        label: RunLabel | None,
        parameters: list[tuple[str, str, int]],
        resumed_at: int | None,
        deliveries: dict[str, Delivery],
    ) -> RunLoggers:
        run = RunInfo(
            id=self.head["id"],
            label=label or single_label(self.spec, self.folder),
            folder=self.folder,
            settings=flatten(to_json(self.spec)),
            parameters=parameters,
            metrics=tuple(
                f"{split}/{name}" for split in ("valid", "test") for name in self.metric_names
            ),
            resumed_at=resumed_at,
            external_id=None,
        )
        loggers = RunLoggers(run, [self._logged(line) for line in self.rows], deliveries)
        self._receiving = loggers.receiving()
        if self.head["loggers"] != loggers.deliveries():
            self._write_deliveries(loggers)
        return loggers

    def _write_deliveries(self, loggers: RunLoggers) -> None:
        self.head["loggers"] = loggers.deliveries()
        write_json(self.folder / "run.json", self.head)

    def _note_switched_off(self) -> None:
        """Writes how much a logger has when it is switched off.

        After a kill, the rows on disk would otherwise count as sent.
        """
        if self._loggers.receiving() != self._receiving:
            self._receiving = self._loggers.receiving()
            self._write_deliveries(self._loggers)

    def _logged(self, line: Mapping[str, JSON]) -> Row:
        """Returns what loggers receive of a line of metrics.jsonl."""
        names = {name: f"{line['split']}/{name}" for name in ("loss", *self.metric_names)}
        names |= {name: f"optim/{name}" for name in OPTIM}
        # A number that is not finite is null in the line, and has no point on a curve.
        values = {named: line[k] for k, named in names.items() if line.get(k) is not None}
        return Row(line["step"], values)

    def _new_head(
        self,
        layout: Layout,
        head: Mapping[str, JSON],
        earlier: Mapping[str, JSON],
        resumed_at: int | None,
    ) -> dict[str, JSON]:
        """Returns the contents of run.json.

        A resumed run keeps its start. Earlier overrides stay if this process has none.
        """
        resumed = resumed_at is not None
        return {
            "schema": SCHEMA,
            "redefined": redefinitions(self.spec),
            "id": run_id(self.spec),
            "group": group_id(self.spec),
            "spec": to_json(self.spec),
            "seeds": self.spec.seeds,
            "layout": asdict(layout),
            "backend": ", ".join(layout.backends(self.spec, own_device_type())),
            **head,
            "overrides": head["overrides"] or earlier.get("overrides", {}),
            **({INITIAL: earlier[INITIAL]} if resumed and INITIAL in earlier else {}),
            "started": (earlier.get("started") if resumed else None) or time.time(),
            "resumed_at": [*earlier.get("resumed_at", []), resumed_at] if resumed else [],
            # Those after the checkpoint will be repeated.
            "rollbacks": [
                entry for entry in earlier.get("rollbacks", []) if entry["rows"] <= len(self.rows)
            ]
            if resumed
            else [],
            "pid": os.getpid(),
            "status": "running",
        }

    @property
    def rows_hash(self) -> bytes:
        """The SHA-256 of the lines of metrics.jsonl so far, which a checkpoint keeps."""
        return self._hash.digest()

    @property
    def seconds(self) -> float:
        """Training time of the recorded rows, in all processes of the run."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def write(self, row: dict[str, JSON]) -> None:
        """Appends a line to metrics.jsonl, and gives its numbers to the loggers.

        Args:
          row: `step`, `split`, counters, metrics, and those of `OPTIM` that there are.
        """
        line = finite(row)
        self.rows.append(line)
        text = json_lines([line])
        self._hash.update(text.encode())
        self._metrics.write(text)
        # At once, so that a kill loses no line.
        self._metrics.flush()
        # Only now: a logger must not have more than the record.
        self._loggers.row(self._logged(line))
        self._note_switched_off()

    def write_rollback(self, entry: dict[str, JSON]) -> None:
        """Adds a rollback to run.json, with the number of rows of metrics.jsonl before it."""
        self.head["rollbacks"].append({"rows": len(self.rows), **entry})
        write_json(self.folder / "run.json", self.head)

    def write_initial_weights(self, loaded: dict[str, JSON]) -> None:
        """Adds to run.json which weights came from `model.init_from`."""
        self.head[INITIAL] = loaded
        write_json(self.folder / "run.json", self.head)

    def write_performance(self, step: int, **values: float) -> None:
        """Gives numbers to the loggers, in the group `perf/`."""
        self._loggers.log(step, {f"perf/{name}": value for name, value in values.items()})
        self._note_switched_off()

    def write_gates(self, step: int, layers: dict[str, LayerStats]) -> None:
        """Gives the statistics of gates and states to the loggers."""
        self._loggers.log(step, gate_values(layers))
        self._note_switched_off()

    def write_gate_images(self, step: int, layers: dict[str, LayerStats]) -> None:
        """Gives images of the gates over one sequence to the loggers."""
        for name, image in gate_images(layers).items():
            self._loggers.figure(step, name, image)
        self._note_switched_off()

    def valid_at(self, step: int) -> dict[str, float]:
        """Returns the validation metrics of a step; none if there was no evaluation."""
        # The last one: after a rollback a step is evaluated again.
        for row in reversed(self.rows):
            if row["split"] == "valid" and row["step"] == step:
                return {name: row[name] for name in self.metric_names}
        return {}

    def valid(self, metric: str) -> dict[int, float]:
        """Returns a validation metric by step, where it is finite."""
        return valid_by_step(self.rows, metric)

    def sync(self) -> None:
        """Waits until the rows are on disk."""
        os.fsync(self._metrics.fileno())

    def close(self) -> None:
        """Closes the files without a word on how the run ended: another process continues it."""
        self._loggers.end("running", {})
        self._metrics.close()

    def finish(self, status: Status, result: dict[str, JSON] | None, reason: str = "") -> None:
        """Ends the record.

        Args:
          status: how the run ended.
          result: the contents of result.json, or None for a run that did not end by itself.
          reason: why, for people.
        """
        # They are closed if the end could not be written, and its failure is recorded now.
        if not self._metrics.closed:
            self._loggers.end(status, {} if result is None else _scores(result))
            self._metrics.close()
        self.head["loggers"] = self._loggers.deliveries(ended=True)
        self.head |= {"status": status, "reason": reason, "ended": time.time()}
        write_json(self.folder / "run.json", self.head)
        # Last: a run counts as done as soon as this file exists.
        if result is not None:
            write_result(self.folder, result, record_files(self.folder))


def _scores(result: Mapping[str, JSON]) -> dict[str, float]:
    """Returns the scores of a result by name, as `Logger.end` receives them."""
    best = result["best"]
    scores = {f"best/{name}": value for name, value in best["valid"].items()}
    scores |= {f"test/{name}": value for name, value in result["test"].items()}
    known = {name: value for name, value in scores.items() if value is not None}
    return {**known, "best/step": best["step"]} if known else {}
