"""Claims: one owner at a time, whoever comes when; stale ones are taken over."""

import os
import socket
import subprocess
import sys
import threading

from lstm_lab.results import lease
from lstm_lab.results.lease import claimed, holder
from lstm_lab.utils.files import read_json, write_json


def test_a_claim_keeps_others_out_until_it_is_over(tmp_path):
    with claimed(tmp_path) as mine:
        assert mine is not None
        assert holder(tmp_path)["pid"] == os.getpid()
        with claimed(tmp_path) as other:
            assert other is None
    assert holder(tmp_path) is None
    with claimed(tmp_path) as again:
        assert again.path.name == "claim.1"


def test_only_one_of_many_wins(tmp_path):
    at_once, all_tried, winners = threading.Barrier(8), threading.Barrier(8), []

    def race():
        at_once.wait(10)
        with claimed(tmp_path) as claim:
            winners.append(claim is not None)
            all_tried.wait(10)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == [False] * 7 + [True]


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_claim_whose_process_is_gone_is_taken_over(tmp_path):
    write_json(
        tmp_path / "claim.3", {"host": socket.gethostname(), "pid": dead_pid(), "started": "1"}
    )
    assert holder(tmp_path) is None
    with claimed(tmp_path) as claim:
        assert claim.path.name == "claim.4"


def test_a_process_that_slept_keeps_its_claim(tmp_path):
    """A machine may sleep; a process of the same number that began later is another one."""
    with claimed(tmp_path) as mine:
        old = mine.path.stat().st_mtime - 10 * lease.STALE_SECONDS
        os.utime(mine.path, (old, old))
        with claimed(tmp_path) as other:
            assert other is None
        write_json(mine.path, {**read_json(mine.path), "started": "1"})
        with claimed(tmp_path) as other:
            assert other is not None


def test_another_machines_claim_is_stale_when_nobody_touches_it(tmp_path):
    other = tmp_path / "claim.0"
    write_json(other, {"host": "another", "pid": 1})
    with claimed(tmp_path) as claim:
        assert claim is None
    old = other.stat().st_mtime - lease.STALE_SECONDS - 1
    os.utime(other, (old, old))
    with claimed(tmp_path) as claim:
        assert claim is not None


def test_a_slow_owner_sees_that_it_has_lost(tmp_path):
    with claimed(tmp_path) as claim:
        assert claim.held
        write_json(tmp_path / "claim.1", {"host": "another", "pid": 1})
        assert not claim.held
    assert read_json(tmp_path / "claim.1") == {"host": "another", "pid": 1}


def test_an_owner_touches_its_claim_while_it_works(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "TOUCH_SECONDS", 0.01)
    touched = threading.Event()
    real = os.utime
    monkeypatch.setattr(lease.os, "utime", lambda path: (real(path), touched.set()))
    with claimed(tmp_path):
        assert touched.wait(10)
