"""Progress on standard error: plain lines in a log, a progress bar on a terminal."""

import os
import pty
import subprocess
import sys

from lstm_lab.utils import progress
from lstm_lab.utils.progress import Meter, duration

CODE = (
    "import time; from lstm_lab.utils.progress import Meter\n"
    "with Meter(10) as m:\n"
    "    for k in range(10):\n"
    "        m.advance(1, f'step {k}'); time.sleep(0.03)\n"
    "print('result')"
)


def test_durations_are_readable():
    assert [duration(s) for s in (0.2, 59.6, 185, 7800)] == ["0s", "1m00s", "3m05s", "2h10m"]


def test_a_log_gets_an_occasional_line(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with Meter(100) as meter:
        meter.skip(50)
        for k in range(10):
            meter.advance(4, f"step {k}")
    out, error = capsys.readouterr()
    assert out == ""
    lines = error.splitlines()
    assert lines[0] == " 54%  step 0  1 steps/s, 46s left"
    assert len(lines) == 3


def test_the_time_left_does_not_count_what_comes_before_the_steady_work(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Meter(100) as meter:
        meter.advance(0, "compiling")
        now = 60.0
        meter.warm_up(1)  # a first step of a minute
        meter.advance(0, "step 1")
        now = 80.0
        meter.advance(39, "step 40")
        # The second program of a sweep.
        now = 140.0
        meter.warm_up(1)
        now = 160.0
        meter.advance(39, "step 80")
    assert capsys.readouterr().err.splitlines() == [
        "  0%  compiling",
        "  1%  step 1",
        " 40%  step 40  2 steps/s, 31s left",
        " 80%  step 80  2 steps/s, 10s left",
    ]


def test_a_terminal_shows_a_progress_bar_and_stdout_stays_clean():
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stderr=writer,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        out, _ = process.communicate(timeout=60)
        os.close(writer)
    shown = b""
    try:
        while chunk := os.read(reader, 4096):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(reader)
    assert out == "result\n"
    assert b"step 9" in shown
    assert b"left" in shown


def test_a_notebook_shows_a_bar_and_removes_it(monkeypatch):
    shown = []

    class Handle:
        def update(self, page):
            shown.append(page.data)

    monkeypatch.setattr("IPython.display.display", lambda page, display_id: Handle())
    monkeypatch.setattr("lstm_lab.utils.progress.Console", FakeConsole)
    with Meter(10) as meter:
        meter.advance(5, "step <5>")
    assert '<progress value="0.5000" max="1">' in shown[0]
    assert "step &lt;5&gt;" in shown[0]
    assert shown[-1] == ""


class FakeConsole:
    """A console in a notebook."""

    is_jupyter, is_terminal = True, False

    def __init__(self, stderr):
        pass


def test_only_work_of_more_than_two_seconds_is_shown(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)

    def work(seconds_per_item):
        nonlocal now
        for item in progress.shown(range(4000), 4000, "lines", "reading"):
            now += seconds_per_item
            yield item

    assert list(work(0.0004)) == list(range(4000))
    assert capsys.readouterr().err == ""
    assert list(work(0.01)) == list(range(4000))
    lines = capsys.readouterr().err.splitlines()
    # One at its beginning, then one every 15 s.
    assert len(lines) == 3
    assert lines[0].split() == ["13%", "reading", "100", "lines/s,", "35s", "left"]
