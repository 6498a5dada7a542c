"""TensorBoard: a file of events in the run's folder, for every run.

In: what `base.Logger` receives. Out: events.out.tfevents.*. If a process repeats steps after a
kill, this logger gets them again, because TensorBoard can hide what the earlier process wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.api_pb2 import Status as SessionStatus
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

from lstm_lab.training.loggers.base import Histogram, RunInfo, Value

# TensorBoard shows a run while it trains. A flush per event would cost more than the events.
FLUSH_SECONDS = 5.0
# How TensorBoard's HParams tab shows the end of a run, by the run's status; others are failures.
_SESSION_STATUS = {
    "completed": "STATUS_SUCCESS",
    "pruned": "STATUS_SUCCESS",
    "interrupted": "STATUS_UNKNOWN",
}


class TensorBoard:
    """Writes the event file of a run.

    Example:
      logger = TensorBoard()
      logger.start(run)
      logger.log(10, {"train/loss": 0.3})
      logger.end("completed", {"test/mse": 0.2, "best/step": 10})
    """

    _writer: EventsWriter
    _flushed: float

    def start(self, run: RunInfo) -> None:
        """Opens the file. A new run has no older files; a resumed one hides later events."""
        if run.resumed_at is None:
            for path in run.folder.glob("events.out.tfevents.*"):
                path.unlink()
        # Not SummaryWriter: its thread and its queue cost more than the events of a short run. If
        # the thread fails, for example on a full disk, the run would wait forever.
        self._writer = EventsWriter(str(run.folder / "events"), f".{os.getpid()}")
        self._flushed = time.monotonic()
        if run.resumed_at is None:
            self._describe(run)
        else:
            # TensorBoard then hides what an interrupted process wrote after the checkpoint.
            start = SessionLog(status=SessionLog.START)
            self._write(Event(session_log=start), run.resumed_at + 1)

    def _describe(self, run: RunInfo) -> None:
        """Writes the text tab, and the start of the run in the HParams tab."""
        table = "\n".join(f"| {key} | {value} |" for key, value in run.settings.items())
        # Step 0: texts do not change during a run.
        self._add(summary.text("spec", f"| setting | value |\n|---|---|\n{table}"))
        rows = "\n".join(
            f"| {name} | {shape} | {count:,} |" for name, shape, count in run.parameters
        )
        total = sum(count for _, _, count in run.parameters)
        head = "| parameter | shape | count |\n|---|---|---|"
        self._add(summary.text("parameters", f"{head}\n{rows}\n| total | | {total:,} |"))
        # The HParams plugin knows strings, booleans and numbers only.
        hparams = {key: "none" if v is None else v for key, v in run.settings.items()}
        hparams = {
            k: v if isinstance(v, (str, bool, int, float)) else str(v) for k, v in hparams.items()
        }
        experiment, start, _ = summary.hparams(hparams, dict.fromkeys(run.metrics, 0))
        self._add(experiment)
        self._add(start)

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Writes numbers as scalars, and histograms."""
        for tag, value in values.items():
            if isinstance(value, Histogram):
                self._histogram(tag, value, step)
            else:
                self._add(summary.scalar(tag, value), step)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image."""
        self._add(summary.image(name, image, dataformats="HWC"), step)

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Writes the test metrics and how the run ended for the HParams tab; closes the file."""
        for tag, value in metrics.items():
            if tag.startswith("test/"):
                self._add(summary.scalar(tag, value), int(metrics["best/step"]))
        # Another process writes the end of a run that it has taken over.
        if status != "running":
            self._end_session(_SESSION_STATUS.get(status, "STATUS_FAILURE"))
        self._writer.close()

    def _end_session(self, code: str) -> None:
        # tensorboardX has no function for the end of an HParams session, so the record is built by
        # hand.
        end = SessionEndInfo(status=SessionStatus.Value(code))
        content = HParamsPluginData(session_end_info=end, version=0).SerializeToString()
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        value = Summary.Value(
            tag="_hparams_/session_end_info", metadata=SummaryMetadata(plugin_data=plugin)
        )
        self._add(Summary(value=[value]))

    def _add(self, record: Summary, step: int = 0) -> None:
        self._write(Event(summary=record), step)

    def _write(self, event: Event, step: int) -> None:
        event.wall_time, event.step = time.time(), step
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _histogram(self, tag: str, values: Histogram, step: int) -> None:
        """Writes a histogram of equal bins. The moments come from the bins' centers."""
        counts = values.counts
        edges = np.linspace(values.low, values.high, len(counts) + 1)
        centers = (edges[1:] + edges[:-1]) / 2
        histogram = summary.histogram_raw(
            tag,
            min=values.low,
            max=values.high,
            num=int(counts.sum()),
            sum=float(counts @ centers),
            sum_squares=float(counts @ centers**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
        )
        self._add(histogram, step)
