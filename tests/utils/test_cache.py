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


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "lstm_lab").write_text("")
    _, reason = cache_folder("part")
    assert reason == f"{tmp_path}/lstm_lab/part: Not a directory"


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
