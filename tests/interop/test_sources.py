"""Weights of other frameworks are read for a config; wrong names and files are refused."""

import numpy as np
import pytest

import lstm_lab as ll
from lstm_lab.config.load import load_spec
from lstm_lab.interop import sources
from lstm_lab.interop.export import export_run
from lstm_lab.interop.sources import find_reader, import_weights, missing_weights
from lstm_lab.models.weights import named_weights
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import trained
from tests.helpers.training import small_spec


@pytest.fixture
def reader(monkeypatch):
    """A framework whose files hold numbers as text; the fixture records what was asked."""
    asked = []

    def read(path, spec, mapping):
        asked.append((spec.model.cell, mapping))
        return {"head/bias": np.array(path.read_text().split(), np.float32)}

    monkeypatch.setattr(sources, "find_reader", lambda framework: read)
    return asked


def test_weights_are_read_for_the_model_of_a_config(reader, tmp_path):
    path = tmp_path / "mine.dat"
    path.write_text("1.5")
    read = ll.interop.import_weights(path, "torch", "adding:gru", {"head": "fc"})
    np.testing.assert_array_equal(read["head/bias"], [1.5])
    import_weights(str(path), "torch", {"task": {"name": "adding"}, "train": {"steps": 1}})
    assert reader == [("gru", {"head": "fc"}), ("lstm", {})]


@pytest.mark.parametrize(
    ("framework", "file"), [("torch", "model.safetensors"), ("flax", "params.msgpack")]
)
@pytest.mark.parametrize("model", [{"cell": "lstm", "bidirectional": True}, {"cell": "gru"}])
def test_an_export_and_its_import_are_the_same_bits(framework, file, model, tmp_path):
    run = trained(small_spec(model={"layers": 2, **model}))
    export_run(run, framework, tmp_path / "out")
    read = import_weights(tmp_path / "out" / file, framework, run.spec)
    expected = named_weights(run.params)
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name].view(np.int32), array.view(np.int32))
    assert missing_weights(read, run.spec) == []


def test_a_missing_file_is_named(reader, tmp_path):
    for path in (tmp_path / "none.dat", tmp_path):
        with pytest.raises(UserError, match=f"import: {path} does not exist, or is not a file"):
            import_weights(path, "torch", "adding")
    assert reader == []


def test_an_unknown_framework_is_refused_and_our_own_files_need_no_import():
    with pytest.raises(UserError, match="--from: got 'kers'; did you mean 'keras'"):
        find_reader("kers")
    with pytest.raises(UserError, match=r"need no import; train with --config.model.init_from="):
        find_reader("safetensors")


def test_what_a_file_lacks_is_listed():
    spec = load_spec("adding:lstm")
    names = missing_weights({}, spec)
    assert "lstm/layer_0/wx" in names
    assert missing_weights({name: np.zeros(1) for name in names[1:]}, spec) == names[:1]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_refused(number, reader, tmp_path):
    path = tmp_path / "mine.dat"
    path.write_text(number)
    with pytest.raises(UserError, match=r"import: .*mine.dat: head/bias"):
        import_weights(path, "torch", "adding")
    assert reader
