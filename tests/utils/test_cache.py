"""The user's cache: private folders, and the reasons why one cannot be used."""

import os

import pytest

from lstm_lab.utils.cache import cache_folder, cache_root, foreign_reason


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_new_folder_is_for_its_user_alone(tmp_path):
    folder, reason = cache_folder("part/below")
    assert (folder, reason) == (tmp_path / "lstm_lab" / "part" / "below", None)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def open_umask():
    """New files and folders that their group can write, as on machines with a group per user."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def rights(tmp_path):
    parts = ("lstm_lab", "lstm_lab/part", "lstm_lab/part/below")
    return [(tmp_path / part).stat().st_mode & 0o777 for part in parts]


@pytest.mark.usefixtures("open_umask")
def test_every_folder_of_the_cache_is_for_its_user_alone(tmp_path):
    assert cache_folder("part/below")[1] is None
    assert rights(tmp_path) == [0o700] * 3
    for level in (tmp_path / "lstm_lab", tmp_path / "lstm_lab" / "part"):
        level.chmod(0o775)
    # Those of an earlier version are closed.
    assert cache_folder("part/below")[1] is None
    assert rights(tmp_path) == [0o700] * 3


@pytest.mark.usefixtures("open_umask")
def test_the_folder_of_all_caches_is_created_for_its_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder("part")[1] is None
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("level", ["lstm_lab", "lstm_lab/part"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_above_is_foreign(tmp_path, level):
    cache_folder("part/below")
    os.chown(tmp_path / level, 1234, 1234)
    assert cache_folder("part/below")[1] == f"{tmp_path / level}: it belongs to another user"


def test_the_cache_may_be_a_link_but_no_folder_in_it(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o755)
    (tmp_path / "lstm_lab").symlink_to(disk)
    assert cache_folder("part/below") == (disk / "part" / "below", None)
    assert disk.stat().st_mode & 0o777 == 0o700
    (disk / "part").rename(disk / "elsewhere")
    (disk / "part").symlink_to(disk / "elsewhere")
    assert cache_folder("part/below")[1] == f"{disk}/part: it is a link"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "lstm_lab").write_text("")
    _, reason = cache_folder("part")
    assert reason == f"{tmp_path}/lstm_lab: Not a directory"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/proc/no-such-home")
    assert cache_root().parts[:3] == ("/", "proc", "no-such-home")
    _, reason = cache_folder("part")
    assert reason.endswith(": No such file or directory")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(0o600, None), (0o644, None), (0o664, "can write"), (0o602, "can write")],
)
def test_what_others_can_write_is_foreign(tmp_path, mode, reason):
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(mode)
    found = foreign_reason(path)
    assert found is None if reason is None else reason in found


def test_a_link_is_foreign(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert foreign_reason(tmp_path / "link").endswith("it is a link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_files_of_another_user_are_foreign(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    os.chown(path, 1234, 1234)
    assert "another user" in foreign_reason(path)
    folder, _ = cache_folder("part")
    os.chown(folder, 1234, 1234)
    assert "another user" in cache_folder("part")[1]
