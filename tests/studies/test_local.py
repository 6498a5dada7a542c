"""The processes of `sweep --jobs` on this machine."""

import subprocess

import pytest

from lstm_lab.studies import local


@pytest.mark.parametrize(("plugins", "found"), [((), 0), (("cuda",), 4)])
def test_accelerators_are_counted_only_if_jax_has_a_plugin_for_them(monkeypatch, plugins, found):
    """Another process has to count them, and its start takes a second."""
    done = subprocess.CompletedProcess((), 0, "4\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    monkeypatch.setattr(local, "entry_points", lambda group: plugins)
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    assert local._count_accelerators() == found
