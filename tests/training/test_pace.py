"""Calls end early enough for signals, and how a row is cut into calls changes no bit."""

import random
import signal
from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.training import pace, session
from lstm_lab.training.loop import StopRequest, stopping_on_signals, train_run
from lstm_lab.training.pace import Pace
from lstm_lab.utils.errors import Interrupted
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.training import StopAfter, assert_same_record, run_record, small_spec, train


class SlowDevice:
    """Replaces the clock and the compiled program: each step takes as long as it is told."""

    def __init__(self, monkeypatch, seconds_per_step):
        self.now, self.calls = 0.0, []
        build = session.build_program

        def slow(*arguments):
            program = build(*arguments)

            def run_chunk(state, data, steps, ending):
                self.now += int(steps) * seconds_per_step
                self.calls.append(int(steps))
                return program.run_chunk(state, data, steps, ending)

            return program._replace(run_chunk=run_chunk)

        monkeypatch.setattr(session, "build_program", slow)
        monkeypatch.setattr(session, "time", self)

    def monotonic(self):
        return self.now


class StopAt(StopRequest):
    """A signal that comes at a time of the slow device."""

    def __init__(self, device, seconds):
        self.device, self.seconds = device, seconds

    @property
    def requested(self):
        return self.device.now >= self.seconds


@pytest.mark.optimized
def test_a_call_of_20_seconds_stops_within_5_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    spec = small_spec(
        optim={"name": "adam", "lr": 0.01},
        train={"steps": 400, "eval_every": 400},
        compute={"log_every": 200},
    )
    train([spec], tmp_path / "a")
    with monkeypatch.context() as patched:
        device = SlowDevice(patched, seconds_per_step=0.1)
        outcome = train([spec], tmp_path / "b", stop=StopAt(device, 7.0))
    assert outcome.status == "interrupted"
    assert device.now - 7.0 <= 5.0
    # In the middle of the first row.
    assert read_lines(tmp_path / "b" / "0" / "metrics.jsonl") == []
    assert train([spec], tmp_path / "b").status == "completed"
    assert read_json(tmp_path / "b" / "0" / "run.json")["resumed_at"] == [0]
    assert_same_record(run_record(tmp_path / "a" / "0"), run_record(tmp_path / "b" / "0"))


@pytest.mark.optimized
def test_any_cut_into_calls_gives_the_same_record(tmp_path, monkeypatch):
    spec = small_spec(
        optim={"name": "adam", "lr": 0.01},
        train={"steps": 41, "eval_every": 9},
        compute={"log_every": 4},
    )
    train([spec, replace(spec, seed=1)], tmp_path / "a")
    draw = random.Random(0)
    monkeypatch.setattr(Pace, "steps", lambda self, left, lanes: draw.randint(1, left))
    runs = [spec, replace(spec, seed=1)]
    for checks in (3, 8):
        assert train(runs, tmp_path / "b", stop=StopAfter(checks)).status == "interrupted"
    assert train(runs, tmp_path / "b").status == "completed"
    for k in "01":
        assert_same_record(run_record(tmp_path / "a" / k), run_record(tmp_path / "b" / k))


@pytest.mark.parametrize("seconds_per_step", [1e-6, 0.003, 0.4, 3.0])
def test_calls_are_as_long_as_signals_permit(seconds_per_step):
    speed, done, calls = Pace(), 0, []
    while done < 3000:
        steps = speed.steps(3000 - done, lanes=2)
        seconds = 2 * steps * seconds_per_step
        speed.observe(steps, lanes=2, seconds=seconds)
        calls.append(seconds)
        done += steps
    assert max(calls) <= max(pace.CALL_SECONDS, 2 * seconds_per_step)
    # Growing quickly, so that fast runs have few calls.
    fewest = np.ceil(sum(calls) / pace.CALL_SECONDS)
    assert len(calls) <= max(1.2 * fewest, fewest + 5) or 2 * seconds_per_step > 0.4


def test_a_signal_while_data_are_read_ends_at_once(tmp_path, monkeypatch):
    spec = small_spec()

    def load(task, data_dir):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the reading went on")

    monkeypatch.setattr(type(spec.task), "load", load)
    with stopping_on_signals() as stop, pytest.raises(Interrupted):
        train_run(spec, tmp_path / "run", tmp_path, stop=stop)
    assert not (tmp_path / "run").exists()


def test_sighup_stops_like_sigterm_unless_the_caller_ignores_it():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals() as stop:  # as under nohup
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stopping_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested
    finally:
        signal.signal(signal.SIGHUP, earlier)
