"""Leases: one owner at a time, and stale leases are taken over."""

import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lstm_lab.results import lease
from lstm_lab.results.lease import acquire_lease, current_owner
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.containers import in_container, needs_containers


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


def make_old(path, seconds=lease.STALE_SECONDS + 1):
    """Sets the time of a file into the past, or into the future."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path):
    write_json(
        tmp_path / "lease.3", {**asdict(lease.this_place()), "pid": dead_pid(), "started": "1"}
    )
    assert current_owner(tmp_path) is None
    with acquire_lease(tmp_path) as acquired:
        assert acquired.path.name == "lease.4"


def test_a_process_keeps_its_lease_while_the_machine_sleeps(tmp_path):
    """A later process that has the same pid is a different one and does not hold the lease."""
    with acquire_lease(tmp_path) as acquired:
        make_old(acquired.path, 10 * lease.STALE_SECONDS)
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
    make_old(other)
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


def test_a_failed_touch_is_told_once_and_tried_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lease, "TOUCH_SECONDS", 0.01)
    tries, touched, real = [], threading.Event(), os.utime

    def utime(path):
        tries.append(path)
        if len(tries) <= 3:
            raise OSError(errno.EIO, "the network file system is away")
        real(path)
        touched.set()

    monkeypatch.setattr(lease.os, "utime", utime)
    with acquire_lease(tmp_path) as acquired:
        assert touched.wait(10)
        assert acquired.owns_lease()
    assert capsys.readouterr().err.count("the network file system is away") == 1


PLACE = {"host": "vm", "boot": "b1", "namespace": "pid:[1]"}


@pytest.mark.parametrize(
    "other",
    [
        {"host": "vm2"},
        {"boot": "b2"},
        {"namespace": "pid:[2]"},
        {"boot": None, "namespace": None},
    ],
)
def test_a_process_of_another_place_is_judged_by_age(tmp_path, monkeypatch, other):
    """Its number belongs to an unrelated process here, or to none."""
    monkeypatch.setattr(lease, "this_place", lambda: lease.Place(**PLACE))
    path = tmp_path / "lease.0"
    for pid in (os.getpid(), dead_pid(), 1):
        write_json(path, {**PLACE, **other, "pid": pid, "started": "1"})
        assert current_owner(tmp_path)["pid"] == pid
        make_old(path)
        assert current_owner(tmp_path) is None


def test_a_lease_of_an_earlier_version_is_judged_by_age(tmp_path):
    path = tmp_path / "lease.0"
    write_json(path, {"host": lease.this_place().host, "pid": dead_pid(), "started": "1"})
    assert current_owner(tmp_path) is not None
    make_old(path)
    assert current_owner(tmp_path) is None


def test_a_system_without_proc_judges_all_leases_by_age(tmp_path, monkeypatch):
    unknown = replace(lease.this_place(), boot=None, namespace=None)
    monkeypatch.setattr(lease, "this_place", lambda: unknown)
    write_json(tmp_path / "lease.0", {**asdict(unknown), "pid": dead_pid(), "started": None})
    assert current_owner(tmp_path) is not None
    make_old(tmp_path / "lease.0")
    assert current_owner(tmp_path) is None


def test_proc_of_another_namespace_is_not_trusted(monkeypatch):
    monkeypatch.setattr(lease.os, "getpid", lambda: 2**22 + 1)
    assert not lease.this_place().known


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        "{}",
        '{"pid": []}',
        "[" * 100_000,
        "\0\0",
        '"released"',
        "\ud800",
    ],
)
def test_an_empty_or_damaged_lease_is_judged_by_age(tmp_path, content):
    path = tmp_path / "lease.0"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert set(current_owner(tmp_path)) >= {"host", "pid"}
    with acquire_lease(tmp_path) as acquired:
        assert acquired is None
    make_old(path)
    with acquire_lease(tmp_path) as acquired:
        assert acquired.path.name == "lease.1"


@pytest.mark.parametrize("pid", [0, -1, 2**70, "1", None, True])
def test_a_number_that_no_process_has_waits_for_nobody(tmp_path, pid):
    path = tmp_path / "lease.0"
    write_json(path, {**asdict(lease.this_place()), "pid": pid, "started": "1"})
    make_old(path)
    assert current_owner(tmp_path) is None


def test_a_lease_from_the_future_does_not_last_until_then(tmp_path):
    write_json(tmp_path / "lease.0", {"host": "another", "pid": 1})
    make_old(tmp_path / "lease.0", -86400)
    assert current_owner(tmp_path) is None


def test_other_files_are_not_leases(tmp_path):
    for name in ("lease.0~", "lease.json", "lease.1.bak", "lease."):
        (tmp_path / name).write_text("")
    (tmp_path / "lease.5").symlink_to(tmp_path / "missing")
    os.utime(tmp_path / "lease.5", (0, 0), follow_symlinks=False)
    with acquire_lease(tmp_path) as acquired:
        assert acquired.path.name == "lease.6"


def test_a_zombie_does_not_hold_a_lease(tmp_path):
    """The first process of a container often never asks for the children that ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = lease._start_time(process.pid)
    write_json(
        tmp_path / "lease.0",
        {**asdict(lease.this_place()), "pid": process.pid, "started": started},
    )
    assert current_owner(tmp_path) is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert current_owner(tmp_path) is None
    process.wait()


def test_a_lease_that_could_not_be_released_does_not_block_its_own_process(
    tmp_path, monkeypatch, capsys
):
    def disk_full(path, data):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lease, "write_json", disk_full)
        with acquire_lease(tmp_path):
            pass
    assert "no space left" in capsys.readouterr().err
    with acquire_lease(tmp_path) as again:
        assert again.path.name == "lease.1"


def test_a_lease_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, fsync, link = [], os.fsync, os.link

    def link_synced(part, path):
        synced.append(Path(part).read_text())
        link(part, path)

    monkeypatch.setattr(lease.os, "fsync", lambda number: (synced.append("fsync"), fsync(number)))
    monkeypatch.setattr(lease.os, "link", link_synced)
    with acquire_lease(tmp_path) as acquired:
        assert synced == ["fsync", acquired.path.read_text(), "fsync"]


# Works on ten cohorts of a folder like `run_cohorts`, and notes each piece of work in a file.
WORKER = """
import os, sys, time
from pathlib import Path
from lstm_lab.results.lease import acquire_lease
folder, name = Path(sys.argv[1]), sys.argv[2]
left = [folder / str(k) for k in range(10)]
while left:
    for cohort in list(left):
        if (cohort / "done").exists():
            left.remove(cohort)
            continue
        with acquire_lease(cohort) as lease:
            if lease is not None and not (cohort / "done").exists():
                with (cohort / "work").open("a") as file:
                    file.write(name + "\\n")
                time.sleep(0.05)
                assert lease.owns_lease()
                (cohort / "done").touch()
    time.sleep(0.01)
"""


@needs_containers
def test_containers_with_one_host_name_respect_each_other(tmp_path):
    """Both are process 1 or 2 of their own namespace, as in two containers of one image."""
    workers = [
        in_container([sys.executable, "-c", WORKER, str(tmp_path), name]) for name in ("a", "b")
    ]
    for worker in workers:
        assert worker.wait(60) == 0
    work = [(tmp_path / str(k) / "work").read_text().split() for k in range(10)]
    assert all(len(names) == 1 for names in work)
    assert {name for names in work for name in names} == {"a", "b"}


@needs_containers
def test_a_killed_container_loses_its_lease_by_age(tmp_path):
    code = (
        "import sys, time; from pathlib import Path;"
        "from lstm_lab.results.lease import acquire_lease\n"
        "with acquire_lease(Path(sys.argv[1])): time.sleep(60)"
    )
    process = in_container([sys.executable, "-c", code, str(tmp_path)])
    while not (tmp_path / "lease.0").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    with acquire_lease(tmp_path) as acquired:
        assert acquired is None
    make_old(tmp_path / "lease.0")
    with acquire_lease(tmp_path) as acquired:
        assert acquired.path.name == "lease.1"


def test_a_process_that_the_system_does_not_show_is_judged_by_age(tmp_path, monkeypatch):
    """As with hidepid, which clusters use: /proc hides the processes of other users."""
    monkeypatch.setattr(lease, "_start_time", lambda pid: None)
    path = tmp_path / "lease.0"
    write_json(path, {**asdict(lease.this_place()), "pid": os.getppid(), "started": "1"})
    assert current_owner(tmp_path)["pid"] == os.getppid()
    make_old(path)
    assert current_owner(tmp_path) is None


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_has_leases(tmp_path, monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lease.os, "link", refuse)
    with acquire_lease(tmp_path) as first:
        assert first.owns_lease()
        assert current_owner(tmp_path)["pid"] == os.getpid()
        with acquire_lease(tmp_path) as second:
            assert second is None
        assert lease._create(tmp_path, 0) is None


def test_a_lease_that_could_not_be_created_is_not_held(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError(errno.EIO, "Input/output error", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(lease, "sync_folder", refuse)
        with pytest.raises(OSError, match="Input/output"), acquire_lease(tmp_path):
            pass
    with acquire_lease(tmp_path) as acquired:
        assert acquired is not None
