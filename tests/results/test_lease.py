"""Leases: one owner at a time, and stale leases are taken over."""

import os
import socket
import subprocess
import sys
import threading

from lstm_lab.results import lease
from lstm_lab.results.lease import acquire_lease, current_owner
from lstm_lab.utils.files import read_json, write_json


def test_only_one_process_holds_a_lease_until_it_is_released(tmp_path):
    with acquire_lease(tmp_path) as acquired:
        assert acquired is not None
        assert current_owner(tmp_path)["pid"] == os.getpid()
        with acquire_lease(tmp_path) as other:
            assert other is None
    assert current_owner(tmp_path) is None
    with acquire_lease(tmp_path) as again:
        assert again.path.name == "lease.1"


def test_one_of_many_concurrent_processes_wins(tmp_path):
    at_once, all_tried, winners = threading.Barrier(8), threading.Barrier(8), []

    def race():
        at_once.wait(10)
        with acquire_lease(tmp_path) as acquired:
            winners.append(acquired is not None)
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


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path):
    write_json(
        tmp_path / "lease.3", {"host": socket.gethostname(), "pid": dead_pid(), "started": "1"}
    )
    assert current_owner(tmp_path) is None
    with acquire_lease(tmp_path) as acquired:
        assert acquired.path.name == "lease.4"


def test_a_process_keeps_its_lease_while_the_machine_sleeps(tmp_path):
    """A later process that has the same pid is a different one and does not hold the lease."""
    with acquire_lease(tmp_path) as acquired:
        old = acquired.path.stat().st_mtime - 10 * lease.STALE_SECONDS
        os.utime(acquired.path, (old, old))
        with acquire_lease(tmp_path) as other:
            assert other is None
        write_json(acquired.path, {**read_json(acquired.path), "started": "1"})
        with acquire_lease(tmp_path) as other:
            assert other is not None


def test_a_lease_of_another_machine_expires_without_touches(tmp_path):
    other = tmp_path / "lease.0"
    write_json(other, {"host": "another", "pid": 1})
    with acquire_lease(tmp_path) as acquired:
        assert acquired is None
    old = other.stat().st_mtime - lease.STALE_SECONDS - 1
    os.utime(other, (old, old))
    with acquire_lease(tmp_path) as acquired:
        assert acquired is not None


def test_a_slow_owner_sees_that_it_lost_its_lease(tmp_path):
    with acquire_lease(tmp_path) as acquired:
        assert acquired.owns_lease()
        write_json(tmp_path / "lease.1", {"host": "another", "pid": 1})
        assert not acquired.owns_lease()
    assert read_json(tmp_path / "lease.1") == {"host": "another", "pid": 1}


def test_an_owner_touches_its_lease_while_it_works(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "TOUCH_SECONDS", 0.01)
    touched = threading.Event()
    real = os.utime
    monkeypatch.setattr(lease.os, "utime", lambda path: (real(path), touched.set()))
    with acquire_lease(tmp_path):
        assert touched.wait(10)
