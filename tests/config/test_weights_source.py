"""Which weights a run may start from, and how they change its id."""

import shutil

import pytest

from lstm_lab.config.ids import group_id, program_key, program_spec, run_id
from lstm_lab.config.load import load_spec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.config.user_code import file_hash
from lstm_lab.config.weights_source import source_hash
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json
from tests.helpers.training import TEXT, language_spec, small_spec, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two runs of the same seed, and one of another seed."""
    folder = tmp_path_factory.mktemp("runs")
    short = {"train": {"steps": 2, "eval_every": 1}}
    train([small_spec(**short), small_spec(**short), small_spec(**short, seed=1)], folder)
    return folder


def started_from(path, **sections):
    return small_spec(model={"init_from": str(path)}, **sections)


def test_an_id_depends_on_the_weights_and_not_on_their_place(trained, tmp_path):
    spec = started_from(trained / "0")
    # Orbax gives its files other names each time; the weights are the same.
    assert source_hash(trained / "0") == source_hash(trained / "1")
    shutil.copytree(trained / "0", tmp_path / "moved")
    for same in (trained / "1", tmp_path / "moved"):
        assert run_id(started_from(same)) == run_id(spec)
        assert group_id(started_from(same)) == group_id(spec)
    others = [started_from(trained / "2"), small_spec()]
    others.append(small_spec(model={"init_from": str(trained / "0"), "init_parts": ("lstm",)}))
    assert len({run_id(spec), *map(run_id, others)}) == 4
    assert len({program_key(spec), *map(program_key, others)}) == 4
    # They train with the same compiled functions all the same.
    assert len({program_spec(spec), *map(program_spec, others)}) == 1


def test_an_id_without_existing_weights_is_what_it_was():
    assert run_id(small_spec()) == "a6bfad8d22e2"
    assert "init_from_sha256" not in to_json(small_spec())


def test_a_run_of_an_earlier_version_has_a_hash_of_its_files(trained, tmp_path):
    for name in "01":
        shutil.copytree(trained / name, tmp_path / name)
        (tmp_path / name / "result.json").write_text("{}")
    shutil.copytree(tmp_path / "0", tmp_path / "copy")
    assert source_hash(tmp_path / "copy") == source_hash(tmp_path / "0")
    assert source_hash(tmp_path / "1") != source_hash(tmp_path / "0")


def test_the_newest_checkpoint_of_an_earlier_version_counts(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    for step in (900, 1000):
        folder = tmp_path / "checkpoints" / "best" / str(step)
        folder.mkdir(parents=True)
        (folder / "sha256.json").write_text(f'{{"file": "{step}"}}')
    assert source_hash(tmp_path) == file_hash(folder / "sha256.json")


def test_a_run_that_has_not_ended_is_refused(trained, tmp_path):
    shutil.copytree(trained / "0", tmp_path / "source")
    (tmp_path / "source" / "result.json").unlink()
    with pytest.raises(UserError, match=r"source has no result\.json, expected a finished run"):
        started_from(tmp_path / "source")


def test_a_record_finds_its_weights_changed_or_gone(trained, tmp_path):
    shutil.copytree(trained / "0", tmp_path / "source")
    spec = started_from(tmp_path / "source")
    data = to_json(spec)
    assert from_json(data) == spec
    shutil.rmtree(tmp_path / "source")
    assert from_json(data) == spec  # its checkpoint has them
    with pytest.raises(UserError, match=r"^model.init_from: .*source does not exist$"):
        started_from(tmp_path / "source")
    shutil.copytree(trained / "2", tmp_path / "source")
    with pytest.raises(UserError, match=r"model.init_from: .* has changed since that run \(sha256"):
        from_json(data)
    # A new path takes the place of the recorded one, with its hash.
    write_json(tmp_path / "run.json", {"spec": data})
    other = load_spec(tmp_path / "run.json", {"model.init_from": str(trained / "1")})
    assert run_id(other) == run_id(spec)
    none = load_spec(tmp_path / "run.json", {"model.init_from": None})
    assert run_id(none) == run_id(small_spec())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing does not exist"),
        ("x" * 300, "does not exist"),
        ("model.pt", r"model.pt may run code when it is .* lstm-lab import FILE --from=torch"),
        ("model.npz", r"model.npz may run code when it is read; save its weights as .safetensors"),
        ("model.h5", r"model.h5: expected the folder of a run, or a .safetensors file"),
        ("folder", "folder holds no weights of a finished run"),
        ("study", "study is a study: choose one of .*study/runs"),
    ],
)
def test_weights_that_cannot_be_read_are_refused_before_training(name, message, tmp_path):
    for file in ("model.pt", "model.npz", "model.h5"):
        (tmp_path / file).write_bytes(b"\x80\x04.")
    (tmp_path / "folder").mkdir()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(UserError, match=f"^model.init_from: .*{message}$"):
        started_from(tmp_path / name)


def test_parts_need_weights_and_vectors_an_embedding_of_their_own(trained, tmp_path):
    with pytest.raises(UserError, match=r"model\.init_parts: got parts to load, but init_from"):
        small_spec(model={"init_parts": ("lstm",)})
    text, vectors = tmp_path / "text.txt", tmp_path / "vectors.txt"
    text.write_text(TEXT)
    vectors.write_text("a 1 2 3 4\n")
    both = {"vectors": str(vectors), "init_from": str(trained / "0")}
    for parts in ((), ("lstm", "embed/embedding")):
        with pytest.raises(UserError, match=r"model\.vectors: model\.init_from loads the embed"):
            language_spec(text, model={**both, "init_parts": parts})
    assert language_spec(text, model={**both, "init_parts": ("lstm",)}).vectors_sha256
