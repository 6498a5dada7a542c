"""The gradient by lag: a case with a known result, and the files that the script writes."""

import csv
from dataclasses import replace

import jax
import numpy as np

from experiments.gradient_flow import cells, gradient_by_lag, main
from lstm_lab.cells import CellSpec, get_variant


def test_a_cell_that_only_forgets_halves_the_gradient_each_step():
    """With all weights near zero, f = 1/2: the state and the gradient halve at each step."""
    share_T = gradient_by_lag(CellSpec(init="normal(1e-4)"), jax.random.key(0), T=12, H=8)
    np.testing.assert_allclose(share_T, 0.5 ** np.arange(12.0), rtol=1e-2)


def test_the_cells_are_the_variants_of_their_names():
    shown = cells(50)
    for name in ("rnn", "np", "lstm"):
        assert shown[name] == get_variant(name).spec
    assert shown["lstm, forget bias 0"] == replace(shown["lstm"], forget_bias=0.0)
    assert shown["np, forget bias 1"] == replace(shown["np"], forget_bias=1.0)


def test_the_script_writes_a_table_a_figure_and_events(tmp_path, monkeypatch, capsys):
    flags = [f"--workdir={tmp_path}", "--steps=20", "--hidden=8", "--seeds=2"]
    monkeypatch.setattr("sys.argv", ["gradient_flow.py", *flags])
    main()
    assert "chrono" in capsys.readouterr().out
    lines = (tmp_path / "gradient_flow.csv").read_text().splitlines()
    names = ["rnn", "np", "np, forget bias 1", "lstm, forget bias 0", "lstm"]
    names += ["lstm, forget bias 3", "chrono"]
    assert next(csv.reader(lines)) == ["lag", *names]
    assert len(lines) == 21
    assert (tmp_path / "gradient_flow.png").stat().st_size > 10_000
    assert list(tmp_path.glob("events.out.tfevents.*"))
