"""What the page refuses, in one line and without files."""

import pytest

from lstm_lab.interop import ExportOptions, export_run
from lstm_lab.interop.web.export import RUNTIME_FILES
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import language_spec, small_spec


@pytest.fixture
def runtime(tmp_path):
    """A folder with files of the right names."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in RUNTIME_FILES:
        (folder / name).write_text("")
    return folder


def refused(run, out, **options):
    with pytest.raises(UserError) as error:
        export_run(run, "web", out, ExportOptions(**options))
    assert "\n" not in str(error.value)
    assert not out.exists()
    return str(error.value)


def test_only_a_language_model_has_a_page(runtime, tmp_path):
    message = refused(trained(small_spec(**SCAN)), tmp_path / "out", runtime=runtime)
    assert message.startswith(
        "--to=web needs a language model, such as a run of characters; this run is of adding."
    )


def test_a_missing_runtime_says_how_to_get_it(runtime, tmp_path):
    run = trained(language_spec("text.txt", **SCAN))
    assert "npm install onnxruntime-web" in refused(run, tmp_path / "out")
    (runtime / RUNTIME_FILES[1]).unlink()
    message = refused(run, tmp_path / "out", runtime=runtime)
    assert f"has no {RUNTIME_FILES[1]}" in message


def test_an_unknown_opset_is_refused(runtime, tmp_path):
    run = trained(language_spec("text.txt", **SCAN))
    assert "expected 17 to 21" in refused(run, tmp_path / "out", runtime=runtime, opset=3)
