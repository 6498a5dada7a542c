"""Progress: a live line on a terminal, a bar in a notebook, plain lines in a log."""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from lstm_lab.utils.escape import visible

LOG_SECONDS = 15.0
# Work of up to this time needs no bar.
QUIET_SECONDS = 2.0
SHOWN_EVERY = 256

Item = TypeVar("Item")


def duration(seconds: float) -> str:
    """Returns a time as people say it: 45s, 3m05s, 2h10m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Meter:
    """Shows how far a piece of work is, its rate and the time left.

    Args:
      total: steps of work; none at all are shown as one.
      unit: what a step is called.
    """

    def __init__(self, total: float, unit: str = "steps") -> None:
        self.total, self.done, self.unit = total or 1.0, 0.0, unit
        self._first, self._start = 0.0, time.monotonic()
        self._worked = self._start
        self._last_line: float | None = None
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._notebook = _NotebookBar() if console.is_jupyter else None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, left="")

    def __enter__(self) -> Meter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        if self._notebook:
            self._notebook.close()

    def skip(self, steps: float) -> None:
        """Counts steps as done by an earlier process; they do not count for the rate."""
        self.done = min(self.done + steps, self.total)
        self._first = min(self._first + steps, self.total)

    def extend(self, steps: float) -> None:
        """Adds work that nobody knew of at the beginning."""
        self.total += steps
        if self._bar:
            self._bar.update(self._task, total=self.total)

    def warm_up(self, steps: float) -> None:
        """Counts steps as done; neither they nor the time since the last step count for the rate.

        For what comes before the steady work: reading data, compiling, the first call of a program.
        Otherwise a run of two minutes would seem to need an hour at its first step.
        """
        now = time.monotonic()
        self._start += now - self._worked
        self._worked = now
        self.skip(steps)

    def advance(self, steps: float, text: str) -> None:
        """Counts steps as done and says what is under way."""
        self.done = min(self.done + steps, self.total)
        now = time.monotonic()
        if steps:
            self._worked = now
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        speed = f"{rate:.0f} {self.unit}/s" if rate >= 1 else f"{60 * rate:.3g} {self.unit}/min"
        left = f"{speed}, {duration((self.total - self.done) / rate)} left" if rate else ""
        shown = f"{text}  {left}".rstrip()
        if self._bar:
            try:
                self._bar.update(self._task, completed=self.done, description=text, left=left)
            except OSError:
                discard(sys.stderr)  # the terminal is gone
        elif self._notebook:
            self._notebook.show(self.done / self.total, shown)
        elif self._last_line is None or now - self._last_line >= LOG_SECONDS:
            self._last_line = now
            say(f"{100 * self.done / self.total:3.0f}%  {shown}")


def shown(items: Iterable[Item], total: int, unit: str, text: str) -> Iterator[Item]:
    """Yields items; if the work on them takes more than two seconds, shows how far it is.

    Args:
      items: what is worked on.
      total: their number.
      unit: what they are called.
      text: what is done with them.

    Example:
      words = [line.split() for line in shown(lines, len(lines), "lines", "reading")]
    """
    start = time.monotonic()
    with ExitStack() as stack:
        meter: Meter | None = None
        for done, item in enumerate(items):
            yield item
            # Looking at the clock costs more than many an item.
            if (done + 1) % SHOWN_EVERY:
                continue
            if meter is not None:
                meter.advance(SHOWN_EVERY, text)
            elif time.monotonic() - start > QUIET_SECONDS:
                meter = stack.enter_context(Meter(total, unit))
                meter.skip(done + 1)


class _NotebookBar:
    """A bar in the output of a notebook's cell, which needs no widgets."""

    def __init__(self) -> None:
        # IPython runs the notebook, so it is there. It is no dependency of the package.
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)
        self._shown = 0.0

    def show(self, share: float, text: str) -> None:
        """Shows the share of the work that is done, at most ten times a second."""
        now = time.monotonic()
        # A notebook keeps up with few messages, and short calls advance hundreds of times.
        if now - self._shown < 0.1:
            return
        self._shown = now
        bar = f'<progress value="{share:.4f}" max="1"></progress>'
        self._handle.update(self._html(f"{bar} {share:.0%} {html.escape(text)}"))

    def close(self) -> None:
        """Removes the bar: results follow it."""
        self._handle.update(self._html(""))


def say(text: str) -> None:
    """Writes a line for people to standard error; without a place for it, the work continues."""
    # Without standard error, `print` would write to standard output.
    if sys.stderr is None:
        return
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except OSError:
        # A full disk, or a closed terminal: hours of training are worth more than this line.
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Sends what a stream still holds, and all that follows, to nowhere.

    Args:
      stream: standard output or standard error, after a write has failed. Python would write the
        rest again when it ends, fail again, and change the exit code.
    """
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return  # no file behind it, as in a notebook
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
