"""Loggers of runs: they get every row once, in any number of processes, and change no result."""

import json
import subprocess
import sys

import pytest

from lstm_lab.config.serialization import to_json
from lstm_lab.results.run_files import read_head, read_result
from lstm_lab.training.loggers.choose import logging_to
from lstm_lab.training.loggers.run_loggers import Delivery, read_deliveries
from tests.helpers.loggers import KILLER, expected_rows, new_keeper
from tests.helpers.paths import ROOT
from tests.helpers.training import StopAfter, assert_same_record, run_record, small_spec, train

SPECS = [small_spec(), small_spec(seed=1)]
# In a folder beside that of `KILLER`: its network is down until the process is killed.
DOWN = f"""{KILLER}

class Down(Killer):
    def log(self, step, values):
        if step > 10 and not Path(__file__).parent.with_name("killed").exists():
            raise ConnectionError("no route")
        if "train/loss" in values or "valid/mse" in values:
            self.write(step, values)
"""
OFTEN = {"checkpoint_seconds": 0.0, "log_every": 5}
LONG = [small_spec(seed=k, train={"steps": 40}) for k in range(2)]


def test_each_member_has_a_logger_that_gets_the_rows_of_its_record(tmp_path):
    keeper = new_keeper()
    with logging_to([keeper]):
        train(SPECS, tmp_path)
    assert len(keeper.made) == 2
    for k, logger in enumerate(keeper.made):
        folder = tmp_path / str(k)
        assert logger.run.folder == folder
        assert logger.run.settings["seed"] == k
        assert logger.run.settings["model.hidden"] == 5
        assert logger.run.label.title == f"adding, lstm, seed {k}"
        assert logger.rows == expected_rows(folder)
        assert len(logger.rows) == 8
        result = read_result(folder)
        scores = {f"test/{name}": value for name, value in result["test"].items()}
        scores |= {f"best/{name}": value for name, value in result["best"]["valid"].items()}
        assert logger.ended == ("completed", {**scores, "best/step": result["best"]["step"]})
        performance = [values for _, values in logger.logged if "perf/steps_per_s" in values]
        assert len(performance) == 4


def test_loggers_change_neither_results_nor_ids(tmp_path):
    with logging_to([new_keeper()]):
        train(SPECS, tmp_path / "a")
    train(SPECS, tmp_path / "b")
    for k in "01":
        a, b = tmp_path / "a" / k, tmp_path / "b" / k
        assert_same_record(run_record(a), run_record(b))
        assert read_head(a)["id"] == read_head(b)["id"]
    assert read_head(tmp_path / "b" / "0")["loggers"] == {}


def test_gates_come_as_numbers_histograms_and_images(tmp_path):
    keeper = new_keeper()
    with logging_to(keeper):
        train([small_spec(compute={"gates": True, "checkpoint_seconds": 0.0})], tmp_path)
    (logger,) = keeper.made
    gates = [values for _, values in logger.logged if "gates/layer_0/f/mean" in values]
    assert len(gates) == 4
    histogram = gates[0]["gates/layer_0/f/values"]
    # 20 sequences of 8 steps, 5 units.
    assert (histogram.counts.sum(), histogram.low, histogram.high) == (800, 0.0, 1.0)
    images = {name: image for _, name, image in logger.figures}
    assert images["gates/layer_0/f"].shape == (5, 8, 3)


@pytest.mark.parametrize("checks", [3, 6])
def test_a_resumed_run_continues_where_its_logger_stopped(tmp_path, checks):
    keeper = new_keeper()
    with logging_to(keeper):
        assert train(LONG, tmp_path, stop=StopAfter(checks)).status == "interrupted"
        first = list(keeper.made)
        assert train(LONG, tmp_path).status == "completed"
    second = keeper.made[2:]
    for k, (before, after) in enumerate(zip(first, second, strict=True)):
        assert before.ended == ("interrupted", {})
        assert before.run.external_id is None
        assert after.run.external_id == f"outside-{k}"
        assert before.rows + after.rows == expected_rows(tmp_path / str(k))


def test_a_killed_process_leaves_no_step_that_comes_twice(tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    down = tmp_path / "down"
    down.mkdir()
    (down / "down.py").write_text(DOWN)
    names = f"{tmp_path / 'killer.py'}:Killer,{down / 'down.py'}:Down"
    config = to_json(small_spec(train={"steps": 40, "eval_every": 20}, compute=OFTEN))
    code = (
        "import json, sys, lstm_lab as ll\n"
        "ll.train(json.loads(sys.argv[1]), seeds=2, workdir=sys.argv[2], log=sys.argv[3])"
    )
    command = [sys.executable, "-c", code, json.dumps(config), f"{tmp_path / 'study'}", names]
    codes = [subprocess.run(command, cwd=ROOT, capture_output=True).returncode for _ in range(2)]
    assert codes == [-9, 0]
    files = sorted(tmp_path.glob("*, seed *.jsonl"))
    assert len(files) == 2
    resumed = []
    for path in files:
        start, *entries = map(json.loads, path.read_text().splitlines())
        assert start == ["start", None]
        (again,) = [k for k, entry in enumerate(entries) if entry[0] == "start"]
        assert entries[again] == ["start", path.stem]
        (folder,) = [
            folder
            for folder in (tmp_path / "study" / "runs").iterdir()
            if read_head(folder)["loggers"]["killer.py:Killer"]["id"] == path.stem
        ]
        assert read_head(folder)["resumed_at"] == [20]
        assert entries[-1][0] == "completed"
        received = [tuple(entry) for entry in entries[:-1] if entry[0] != "start"]
        assert received == expected_rows(folder)
        resumed.append(again)
        # Switched off before the kill: it has neither the rows after that nor any row twice.
        entries = [json.loads(line) for line in (down / path.name).read_text().splitlines()]
        assert entries[3:5] == [["failed", {}], ["start", path.stem]]
        received = [tuple(entry) for entry in entries if isinstance(entry[0], int)]
        assert received == expected_rows(folder)
    # The first member was told of step 25 before the kill, the second not yet.
    assert sorted(resumed) == [5, 6]


def test_a_logger_that_fails_is_switched_off_and_gets_its_rows_later(tmp_path, capsys):
    good, bad = new_keeper(), new_keeper()
    works = bad.log

    def fails(self, step, values):
        if step > 5:
            raise ConnectionError("no route\nto host")
        works(self, step, values)

    bad.log = fails
    bad.__qualname__ = "bad"
    with logging_to([good, bad]):
        assert train(LONG[:1], tmp_path, stop=StopAfter(5)).status == "interrupted"
    notes = [line for line in capsys.readouterr().err.splitlines() if "receives no more" in line]
    assert notes == [
        "note: bad receives no more numbers in this process: ConnectionError: no route"
    ]
    assert bad.made[0].ended == ("failed", {})
    assert good.made[0].ended == ("interrupted", {})
    recorded = read_head(tmp_path / "0")["loggers"]["bad"]
    assert recorded == {"id": "outside-0", "rows": 2, "open": False}
    bad.log = works
    with logging_to([good, bad]):
        train(LONG[:1], tmp_path)
    for logger in (good, bad):
        rows = [row for part in logger.made for row in part.rows]
        assert rows == expected_rows(tmp_path / "0")


def test_a_logger_that_joins_a_resumed_run_gets_its_whole_history(tmp_path):
    train(LONG[:1], tmp_path, stop=StopAfter(4))
    keeper = new_keeper()
    with logging_to(keeper):
        train(LONG[:1], tmp_path)
    (logger,) = keeper.made
    assert logger.run.resumed_at > 0
    assert logger.rows == expected_rows(tmp_path / "0")


def test_a_logger_that_leaves_a_run_can_come_back(tmp_path):
    keeper = new_keeper()
    with logging_to(keeper):
        train(LONG[:1], tmp_path, stop=StopAfter(3))
    train(LONG[:1], tmp_path, stop=StopAfter(3))
    with logging_to(keeper):
        train(LONG[:1], tmp_path)
    rows = [row for part in keeper.made for row in part.rows]
    assert rows == expected_rows(tmp_path / "0")
    assert len(keeper.made) == 2


def test_a_logger_that_cannot_start_leaves_the_run_alone(tmp_path, capsys):
    class Broken(new_keeper()):
        def start(self, run):
            raise RuntimeError("no account")

    with logging_to(Broken):
        assert train(SPECS, tmp_path).status == "completed"
    err = capsys.readouterr().err
    assert err.count("no account") == 1
    assert read_result(tmp_path / "1")["status"] == "completed"


def test_a_function_that_makes_no_logger_leaves_the_run_alone(tmp_path, capsys):
    with logging_to(lambda: 3):
        assert train(SPECS[:1], tmp_path).status == "completed"
    expected = "TypeError: got int, which has no start(), expected start, log, figure, end"
    assert expected in capsys.readouterr().err
    assert read_head(tmp_path / "0")["status"] == "completed"


def test_a_logger_that_cannot_be_ended_after_an_error_is_tried_once(tmp_path, capsys):
    ended = []

    class Gone(new_keeper()):
        def log(self, step, values):
            raise ConnectionError("no route")

        def end(self, status, metrics):
            ended.append(status)
            raise ConnectionError("no route")

    with logging_to(Gone):
        assert train(SPECS, tmp_path).status == "completed"
    # Both members have one, and each attempt may wait for the network.
    assert ended == ["failed"]
    assert capsys.readouterr().err.count("no route") == 1


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("x", {"id": "a", "rows": 2, "open": True}, Delivery("a", 5, False)),
        # It never got the last step, of which there are two rows.
        ("wandb", {"id": "a", "rows": 2, "open": True}, Delivery("a", 3, False)),
        # Killed again before it had repeated all steps.
        ("x", {"id": "a", "rows": 7, "open": True}, Delivery("a", 7, False)),
        ("x", {"id": None, "rows": 2, "open": False}, Delivery(None, 2, False)),
        ("wandb", {"id": "a", "rows": 5, "open": False}, Delivery("a", 5, False)),
        ("x", {"id": 3, "rows": 2, "open": False}, Delivery(None, 2, False)),
        ("x", {"id": "a", "rows": "2"}, None),
        ("x", "damaged", None),
    ],
)
def test_what_a_logger_has_follows_from_run_json(name, entry, expected):
    steps = [5, 10, 15, 20, 20]
    deliveries = read_deliveries({"loggers": {name: entry}}, steps)
    assert deliveries == ({} if expected is None else {name: expected})
    assert read_deliveries({"loggers": [entry]}, steps) == read_deliveries({}, []) == {}
