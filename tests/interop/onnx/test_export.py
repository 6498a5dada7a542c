"""What the target refuses, in one line and without files."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.cells import CellSpec
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.interop import ExportOptions, export_run
from lstm_lab.interop.onnx import export
from lstm_lab.interop.onnx.export import check_opset, form
from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import small_spec

OWN_CELL = """
from dataclasses import replace
from lstm_lab.cells import CellSpec
from lstm_lab.cells.gated import GATED_LSTM, pointwise

def mine(*args, **options):
    return pointwise(*args, **options)

MINE = CellSpec(cell=replace(GATED_LSTM, pointwise=mine))
"""


def test_a_cell_of_a_user_is_refused_by_name(tmp_path):
    path = tmp_path / "cells.py"
    path.write_text(OWN_CELL)
    run = trained(small_spec(model={"cell": f"{path}:MINE"}, **SCAN))
    with pytest.raises(UserError, match="the cell MINE has functions of its own") as error:
        export_run(run, "onnx", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == ["cells.py"]
    with pytest.raises(UserError, match="functions of its own"):
        form(CellSpec(cell=replace(GATED_LSTM, emit=lambda spec, params, state: state)))


@pytest.mark.parametrize("opset", [1, 16, 99])
def test_an_unknown_opset_is_refused(opset, tmp_path):
    message = f"--opset: got {opset}, expected 17 to 21"
    with pytest.raises(UserError, match=message):
        export_run(trained(small_spec(**SCAN)), "onnx", tmp_path / "out", ExportOptions(opset))
    assert list(tmp_path.iterdir()) == []
    assert check_opset(None) == 17


def test_weights_above_two_gigabytes_are_refused(tmp_path):
    graph = OnnxGraph()
    # Its pages are never touched.
    graph.constant("w", np.broadcast_to(np.float32(0), (2**29, 1)))
    with pytest.raises(UserError, match=r"2\.0 GB, expected at most 2 GB"):
        export.write_graph(trained(small_spec(**SCAN)), graph, tmp_path / "model.onnx", 17)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        UserError, match=r"--to=onnx needs onnx: pip install 'lstm-lab\[interop\]'$"
    ):
        export_run(trained(small_spec(**SCAN)), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
