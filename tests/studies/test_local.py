"""The processes of `sweep --jobs` on this machine."""

import subprocess

import pytest

from lstm_lab.studies import Sequential, local
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import DONE
from lstm_lab.utils.files import read_json, write_json
from lstm_lab.utils.progress import Meter
from tests.helpers.sweep import tiny_study


@pytest.mark.parametrize(("plugins", "found"), [((), 0), (("cuda",), 4)])
def test_accelerators_are_counted_only_if_jax_has_a_plugin_for_them(monkeypatch, plugins, found):
    """Another process has to count them, and its start takes a second."""
    done = subprocess.CompletedProcess((), 0, "4\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    monkeypatch.setattr(local, "entry_points", lambda group: plugins)
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    assert local._count_accelerators() == found


def write_runs(workdir):
    """Writes the results of six runs, one at a time; the look after four asks for the others."""
    undecided = {"p": 0.5, "equal": None, "verdict": "undecided"}
    look = {"seeds": 2, "limit": 0.01, "variants": {"rnn": undecided}}
    for number in range(6):
        if number == 4:
            plan = read_json(workdir / "study.json")
            write_json(workdir / "study.json", {**plan, "looks": [look]})
        write_json(workdir / "runs" / f"r{number}" / "metrics.jsonl", {})
        write_json(workdir / "runs" / f"r{number}" / "result.json", {})
        yield True


def test_the_bar_learns_of_the_seeds_that_looks_add(tmp_path, monkeypatch):
    study, ended = tiny_study(sequential=Sequential(first=2, step=1)), []
    StudyFolder(tmp_path, study).declare()
    work = write_runs(tmp_path)

    class Worker:
        """Writes a result each time that somebody asks whether it runs."""

        code = DONE
        running = property(lambda self: next(work, False))
        restarted = stop = lambda self: False

    class Recorded(Meter):
        def __exit__(self, *error):
            ended.append((self.done, self.total))
            super().__exit__(*error)

    monkeypatch.setattr(local, "WorkerProcess", lambda *_: Worker())
    monkeypatch.setattr(local, "Meter", Recorded)
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    assert local.run_jobs([], tmp_path, 1, 4, StopRequest()) == DONE
    assert ended == [(6.0, 6.0)]
