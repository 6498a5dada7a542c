"""The target `torch`: its forms, its files, and what it refuses."""

import sys

import pytest

from lstm_lab.cells import get_variant
from lstm_lab.interop.export import export_run
from lstm_lab.interop.pytorch import form
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from tests.helpers.torch_runs import make_run

numpy_files = pytest.importorskip("safetensors.numpy")


def test_forms():
    assert form(get_variant("weightdrop").spec) == "layer"
    assert form(get_variant("zoneout").spec) == "equations"


def test_the_folder(tmp_path):
    folder = export_run(make_run(cell="peephole"), "torch", tmp_path / "out")
    files = {path.name for path in folder.iterdir()}
    assert files == {"export.json", "model.py", "model.safetensors", "preprocessing.json"}
    tensors = numpy_files.load_file(folder / "model.safetensors")
    assert tensors["layers.1.U.weight"].shape == (16, 4)
    usage = read_json(folder / "export.json")["usage"]
    assert "from model import load" in usage
    # What to install, and where to run it, are two comments.
    assert "pip install torch safetensors\n# Run it in this folder" in usage


def test_only_a_model_that_can_stream_says_so(tmp_path):
    for both in (False, True):
        run = make_run(bidirectional=both)
        usage = read_json(export_run(run, "torch", tmp_path / "out") / "export.json")["usage"]
        assert ("states=states" in usage) != both


def test_without_safetensors_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UserError, match=r"lstm-lab\[interop\]"):
        export_run(make_run(), "torch", tmp_path / "out")
    assert not list(tmp_path.iterdir())
