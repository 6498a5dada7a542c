"""Studies in Python: sweeps, rankings, claims, comparisons of cells."""

import pandas as pd
import pytest

import lstm_lab as ll
from lstm_lab.studies import battery

BASE = {
    "task": {"name": "adding", "length": 4, "valid_size": 16, "test_size": 16},
    "model": {"hidden": 4},
    "optim": {"name": "adam", "lr": 0.01},
    "train": {"batch_size": 8, "steps": 20, "eval_every": 10},
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study():
    return ll.Study(
        name="cells",
        base=BASE,
        axes=(ll.grid("model.cell", ("lstm", "gru")),),
        seeds=(10, 11, 12),
        baseline="lstm",
        claims=(ll.Scores("gru", "mse", at_most=9.0),),
    )


def test_a_sweep_returns_ranking_claims_and_all_runs(study):
    result = ll.sweep(study)
    ranking = result.ranking
    assert sorted(ranking["variant"]) == ["gru", "lstm"]
    assert list(ranking["n"]) == [3, 3]
    assert list(ranking["mse"]) == sorted(ranking["mse"])
    assert [claim.verdict for claim in result.claims] == ["holds"]
    assert len(result.table) == 6
    assert result.best.status == "completed"
    html = result._repr_html_()
    assert "gru" in html
    assert "holds" in html
    assert result.report().is_file()
    # A second call trains nothing and gives the same table.
    assert ll.load_study("runs/cells").table == result.table == ll.sweep(study).table


def test_a_study_can_be_named_and_its_base_too(tmp_path):
    (tmp_path / "my_study.py").write_text(
        "import lstm_lab as ll\n\n\n"
        "def get_study():\n"
        "    return ll.Study('mine', 'tiny.py', (ll.grid('model.cell', ('lstm', 'rnn')),), (0,))\n"
    )
    (tmp_path / "tiny.py").write_text(f"def get_config():\n    return {BASE!r}\n")
    result = ll.sweep("my_study.py")
    assert {row.variant for row in result.runs.runs} == {"lstm", "rnn"}


def test_pandas_tables_have_numbers(study):
    result = ll.sweep(study)
    assert isinstance(result.ranking, pd.DataFrame)
    assert result.to_pandas().groupby("variant")["test_mse"].mean().min() > 0


CELL = """
from lstm_lab.cells import CellSpec

mine = CellSpec(gates="io", coupled=True)
"""


def test_a_cell_is_compared_with_the_lstm(tmp_path, monkeypatch):
    monkeypatch.setattr(battery, "TASKS", {"adding_4": battery.BatteryTask(BASE)})
    (tmp_path / "my_cell.py").write_text(CELL)
    comparison = ll.compare("my_cell.py:mine", budget=2)
    assert comparison.pair.baseline == "lstm"
    assert comparison.verdict in {"better", "worse", "equivalent", "inconclusive"}
    assert len(comparison.studies["adding_4"].ranking) == 2
    assert "pairs" in comparison._repr_html_()
    assert comparison.report().is_file()
