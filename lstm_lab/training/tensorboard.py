"""TensorBoard events of one run: scalars, texts, hyperparameters, gates.

`recorder.py` decides what is written and when; this file knows TensorBoard's formats.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.api_pb2 import Status as SessionStatus
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

from lstm_lab.training.gate_stats import LOG10_TIME_RANGE, LayerStats, gate_image
from lstm_lab.utils.types import JSON

# TensorBoard shows a run while it trains. A flush per event would cost more than the events.
FLUSH_SECONDS = 5.0
# How TensorBoard's HParams tab shows the end of a run, by the run's status; others are failures.
_SESSION_STATUS = {
    "completed": "STATUS_SUCCESS",
    "pruned": "STATUS_SUCCESS",
    "interrupted": "STATUS_UNKNOWN",
}


class Events:
    """Writes a run's event file.

    Args:
      folder: the run's folder.
      resumed_at: the step of the checkpoint that training continues from; later events of an
        earlier process are hidden. None for a new run, whose folder's old events are removed.
    """

    def __init__(self, folder: Path, resumed_at: int | None) -> None:
        if resumed_at is None:
            for path in folder.glob("events.out.tfevents.*"):
                path.unlink()
        # Not its SummaryWriter: the thread and the queue cost more than the events of a short run,
        # and an error of the thread, as of a full disk, leaves the run waiting.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        self._flushed = time.monotonic()
        if resumed_at is not None:
            # TensorBoard then hides what an interrupted process wrote after the checkpoint.
            start = SessionLog(status=SessionLog.START)
            self._write(Event(session_log=start), resumed_at + 1)

    def describe(
        self,
        settings: Mapping[str, JSON],
        parameters: list[tuple[str, str, int]],
        metrics: Iterable[str],
    ) -> None:
        """Writes the text tab, and the start of the run in the HParams tab.

        Args:
          settings: the spec, with dotted names.
          parameters: rows (name, shape, count).
          metrics: tags such as `valid/nll` that the HParams tab shows.
        """
        table = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
        # Step 0: texts do not change during a run.
        self._add(summary.text("spec", f"| setting | value |\n|---|---|\n{table}"))
        rows = "\n".join(f"| {name} | {shape} | {count:,} |" for name, shape, count in parameters)
        total = sum(count for _, _, count in parameters)
        head = "| parameter | shape | count |\n|---|---|---|"
        self._add(summary.text("parameters", f"{head}\n{rows}\n| total | | {total:,} |"))
        # The HParams plugin knows strings, booleans and numbers only.
        hparams = {key: "none" if v is None else v for key, v in settings.items()}
        hparams = {
            k: v if isinstance(v, (str, bool, int, float)) else str(v) for k, v in hparams.items()
        }
        experiment, start, _ = summary.hparams(hparams, dict.fromkeys(metrics, 0))
        self._add(experiment)
        self._add(start)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one number; one that is not finite has no point on a curve."""
        if not math.isfinite(value):
            return  # tensorboardX would print a warning for each
        self._add(summary.scalar(tag, value), step)

    def gates(self, step: int, layers: dict[str, LayerStats]) -> None:
        """Writes the statistics of gates and states: numbers and histograms."""
        for layer, stats in layers.items():
            for gate, values in stats.gates.items():
                tag = f"gates/{layer}/{gate}"
                self.scalar(f"{tag}/mean", float(values.mean), step)
                self.scalar(f"{tag}/frac_below_0.1", float(values.below), step)
                self.scalar(f"{tag}/frac_above_0.9", float(values.above), step)
                self._histogram(f"{tag}/values", values.counts, (0.0, 1.0), step)
            if stats.c_norm is not None:
                self.scalar(f"state/{layer}/c_norm", float(stats.c_norm), step)
            if stats.time_counts is not None:
                tag = f"state/{layer}/log10_time_constant"
                self._histogram(tag, stats.time_counts, LOG10_TIME_RANGE, step)

    def gate_images(self, step: int, layers: dict[str, LayerStats]) -> None:
        """Writes an image of each gate over time, for one sequence."""
        for layer, stats in layers.items():
            for gate, values_TH in stats.maps.items():
                # Height, width, color: units run down, time runs to the right.
                image = gate_image(values_TH)
                self._add(summary.image(f"gates/{layer}/{gate}", image, dataformats="HWC"), step)

    def end(self, status: str) -> None:
        """Writes how the run ended for the HParams tab, and closes the file."""
        code = _SESSION_STATUS.get(status, "STATUS_FAILURE")
        # tensorboardX has no function for the end of an HParams session, so the record is built by
        # hand.
        end = SessionEndInfo(status=SessionStatus.Value(code))
        content = HParamsPluginData(session_end_info=end, version=0).SerializeToString()
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        value = Summary.Value(
            tag="_hparams_/session_end_info", metadata=SummaryMetadata(plugin_data=plugin)
        )
        self._add(Summary(value=[value]))
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _add(self, record: Summary, step: int = 0) -> None:
        self._write(Event(summary=record), step)

    def _write(self, event: Event, step: int) -> None:
        event.wall_time, event.step = time.time(), step
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _histogram(
        self, tag: str, counts: np.ndarray, bounds: tuple[float, float], step: int
    ) -> None:
        """Writes a histogram of equal bins. The moments come from the bins' centers."""
        edges = np.linspace(*bounds, len(counts) + 1)
        centers = (edges[1:] + edges[:-1]) / 2
        histogram = summary.histogram_raw(
            tag,
            min=bounds[0],
            max=bounds[1],
            num=int(counts.sum()),
            sum=float(counts @ centers),
            sum_squares=float(counts @ centers**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
        )
        self._add(histogram, step)
