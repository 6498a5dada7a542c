"""Several seeds in Python: means, intervals, the best run, and folders that hold none."""

import shutil

import jax
import numpy as np
import pytest

import lstm_lab as ll
from lstm_lab.cli import main
from lstm_lab.training import session
from lstm_lab.utils.errors import UserError
from tests.helpers.training import TINY


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_several_seeds_have_means_and_a_best_run():
    runs = ll.train("adding", seeds=3, overrides=TINY)
    assert len(runs) == 3
    values = [run.metrics["mse"] for run in runs]
    assert runs.metrics["mse"] == pytest.approx(np.mean(values))
    assert sorted(set(runs.history["seed"])) == [0, 1, 2]
    valid = [run.record.valid["mse"] for run in runs]
    assert runs.best.folder == runs[int(np.argmin(valid))].folder
    assert runs._repr_html_().count("<tr>") == 5
    again = ll.load_run(runs.folder)
    assert again.metrics == runs.metrics
    assert ll.load_study(runs.folder).ranking["n"][0] == 3
    assert runs.report().is_file()
    # Of a study on demand, with the interval over its seeds.
    assert not list(runs.folder.glob("runs/*/MODEL_CARD.md"))
    card = runs.card()
    assert card == runs.best.folder / "MODEL_CARD.md"
    assert "| mean test, 3 seeds | 95 % interval |" in card.read_text()


@pytest.fixture
def no_memory(monkeypatch):
    def fail(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(session, "initial_member", fail)


def test_seeds_without_a_folder_are_missing_and_training_ends_with_the_reason(no_memory):
    with pytest.raises(UserError, match="none of 3 seeds was trained: RESOURCE_EXHAUSTED"):
        ll.train("adding", seeds=3, overrides=TINY, workdir="s")
    runs = ll.load_run("s")
    assert (len(runs), runs.status) == (0, "missing")
    flags = [f"--config.{name}={value}" for name, value in TINY.items()]
    assert main(["train", "adding", *flags, "--seeds=3", "--workdir=s"]) == 1


def test_a_seed_that_did_not_start_counts_in_the_status():
    runs = ll.train("adding", seeds=2, overrides=TINY, workdir="s")
    assert runs.status == "completed"
    shutil.rmtree(runs[1].folder)
    again = ll.load_run("s")
    assert (len(again), again.status) == (1, "missing")


def test_a_single_run_without_a_folder_ends_with_the_reason(no_memory, capsys):
    with pytest.raises(UserError, match="train: out_of_memory: RESOURCE_EXHAUSTED"):
        ll.train("adding", overrides=TINY, workdir="one")
    flags = [f"--config.{name}={value}" for name, value in TINY.items()]
    assert main(["train", "adding", *flags, "--workdir=one"]) == 1
    assert "lstm-lab: train: out_of_memory: RESOURCE_EXHAUSTED" in capsys.readouterr().err


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        ll.load_run(tmp_path)
    with pytest.raises(UserError, match="is not a study"):
        ll.load_study(tmp_path)
