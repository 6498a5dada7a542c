"""The verb bench: its flags, its files, and what it prints without measuring."""

import json
import os

import pytest

from lstm_lab.bench.collect import BEGIN, END
from lstm_lab.cli import main

TINY = ["--shapes=4x6x5x8", "--rounds=2", "--milliseconds=1", "--default-memory"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suite=layers"], "--suite: got 'layers'"),
        (["--contenders=tensorflow"], "--contenders: got 'tensorflow'"),
        (["--suite=train", "--table=t.json"], "--table: got suite train, expected backends"),
        (
            ["--suite=backends", "--table=t.json", "--ragged"],
            "--table: got --ragged, expected the suite's own cases",
        ),
        (["--shapes=32x64x64"], "--shapes: got '32x64x64', expected BxTxDxH"),
        (["--layers=0"], "--layers: got 0, expected 1 or more"),
        (["--suite=trials", "--shapes=1x1x1x1"], "--shapes: got --suite=trials, expected one of"),
        (["--suite=errors", "--dry-run"], "--dry-run: got --suite=errors, expected one of layer"),
        (["--suite=trials", "--resume"], "--resume: got --suite=trials, expected one of layer"),
        (["--suite=trials", "--limit=9"], "--limit: got --suite=trials, expected one of layer"),
        (["--collect=none", "--rounds=2"], "--collect: got --rounds=2, expected --out alone"),
        (["--collect=none"], "--collect: none has no result of lstm-lab bench"),
        (["--work=population"], "--work: got 'population', expected one of forward, gradient"),
        (["--cell=gru,vanila"], "--cell: got 'vanila'; did you mean 'vanilla'"),
    ],
)
def test_wrong_flags_are_rejected(capsys, flags, message):
    assert main(["bench", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_dry_run_measures_and_writes_nothing(capsys):
    flags = ["--dry-run", "--contenders=lstm_lab,flax", "--layers=2", "--page=page"]
    assert main(["bench", *TINY, *flags]) == 0
    out = capsys.readouterr().out
    assert "gradient  B 4, T 6, D 5, H 8, 2 layers" in out
    assert "2 cases, 2 rounds: about " in out
    assert os.listdir() == []


def test_times_of_an_own_cell_with_page_and_resume(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from lstm_lab.cells import CellSpec\nMINE = CellSpec(forget_bias=2.0)\n"
    )
    flags = [*TINY, "--work=gradient", "--cell=lstm,mine.py:MINE", "--page=page"]
    flags += ["--contenders=lstm_lab,flax", "--out=times.json"]
    assert main(["bench", *flags]) == 0
    out = capsys.readouterr().out
    assert "| mine.py:MINE, B 4, T 6, D 5, H 8 |" in out
    assert "written: times.json, times.md, page/layer.md, page/layer.json, page/layer.png" in out
    result = json.loads((tmp_path / "times.json").read_text())
    # Other libraries have only the plain LSTM.
    assert [row["contender"] for row in result["rows"]] == ["lstm_lab", "flax", "lstm_lab"]
    command = "lstm-lab bench --shapes=4x6x5x8 --work=gradient --cell=lstm,mine.py:MINE "
    command += "--contenders=lstm_lab,flax --rounds=2 --milliseconds=1 --default-memory"
    assert result["command"] == command
    assert f"\n{command}\n" in (tmp_path / "page" / "layer.md").read_text()
    assert main(["bench", *flags, "--resume"]) == 0
    assert json.loads((tmp_path / "times.json").read_text())["rows"] == result["rows"]


def test_tables_of_several_results_go_between_the_marks_of_a_document(capsys, tmp_path):
    (tmp_path / "page.md").write_text(f"# Page\n\n{BEGIN}\n{END}\n")
    flags = [*TINY, "--work=forward", "--contenders=lstm_lab scan", "--out=runs/layer.json"]
    assert main(["bench", *flags, "--limit=600"]) == 0
    assert "--limit" not in json.loads((tmp_path / "runs/layer.json").read_text())["command"]
    capsys.readouterr()
    assert main(["bench", "--collect=runs"]) == 0
    text = capsys.readouterr().out
    assert "### One layer and one stack" in text
    assert main(["bench", "--collect=runs", "--out=page.md"]) == 0
    assert text.strip() in (tmp_path / "page.md").read_text()
