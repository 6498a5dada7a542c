"""An export is a whole folder or none; it replaces an export and nothing else."""

import pytest

from lstm_lab.interop import export
from lstm_lab.interop.export import export_run, read_usage
from lstm_lab.interop.targets import ExportTarget
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from tests.helpers.explain import trained
from tests.helpers.training import small_spec


@pytest.fixture
def run():
    return trained(small_spec(model={"cell": "gru"}))


def write_part_and_fail(trained, folder, options):
    (folder / "half.bin").write_text("half")
    raise UserError("export: no such cell")


def test_an_export_has_what_its_inputs_and_outputs_need(run, tmp_path):
    out = tmp_path / "deep" / "weights"
    assert export_run(run, "safetensors", out, card=lambda usage: f"# Card\n{usage}") == out
    names = {path.name for path in out.iterdir()}
    assert names == {"model.safetensors", "export.json", "preprocessing.json", "README.md"}
    found = read_json(out / "export.json")
    assert found["inputs"] == {"kind": "vectors", "features": 2}
    assert found["outputs"] == {"kind": "real", "size": 1, "every_step": False}
    assert (found["target"], found["task"], found["cell"]) == ("safetensors", "adding", "gru")
    assert read_usage(out) in (out / "README.md").read_text()
    assert out.stat().st_mode & 0o777 == 0o755


def test_a_second_export_replaces_the_first_whole(run, tmp_path):
    out = tmp_path / "out"
    export_run(run, "stablehlo", out)
    export_run(run, "safetensors", out)
    assert not list(out.glob("*.jax_export"))


@pytest.mark.parametrize("content", ["folder", "file"])
def test_something_else_is_never_replaced(content, run, tmp_path):
    out = tmp_path / "out"
    if content == "folder":
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    else:
        out.write_text("mine")
    with pytest.raises(UserError, match=r"--out: .* exists and is no export"):
        export_run(run, "safetensors", out)
    left = out / "thesis.tex" if content == "folder" else out
    assert left.read_text() == "mine"


def test_an_error_leaves_the_earlier_export_and_nothing_half_written(run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_run(run, "safetensors", out)
    before = (out / "model.safetensors").read_bytes()
    failing = ExportTarget(lambda spec: "layer", write_part_and_fail)
    monkeypatch.setattr(export, "find_target", lambda name: failing)
    with pytest.raises(UserError, match="no such cell"):
        export_run(run, "torch", out)
    assert (out / "model.safetensors").read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(UserError, match="no such cell"):
        export_run(run, "torch", tmp_path / "new")
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_without_an_export_has_no_usage(tmp_path):
    with pytest.raises(UserError, match=r"holds no export \(export.json is missing"):
        read_usage(tmp_path)
