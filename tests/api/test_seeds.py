"""Several seeds in Python: means, intervals, the best run, and folders that hold none."""

import numpy as np
import pytest

import lstm_lab as ll
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


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        ll.load_run(tmp_path)
    with pytest.raises(UserError, match="is not a study"):
        ll.load_study(tmp_path)
