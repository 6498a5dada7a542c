"""`lstm-lab export` and `lstm-lab import`: files, one-line errors, and nothing half-written."""

import json
import shlex

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import lstm_lab as ll
from lstm_lab.cli import main
from lstm_lab.interop import sources
from lstm_lab.models.weights import named_weights
from lstm_lab.utils.errors import UserError

TINY = ["--config.train.steps=2", "--config.train.eval_every=1", "--config.model.hidden=3"]
TINY += ["--config.task.length=6", "--config.task.valid_size=9", "--config.task.test_size=9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run `one`, and a study of two seeds `two`."""
    place = tmp_path_factory.mktemp("runs")
    for name, flags in (("one", []), ("two", ["--seeds=2"])):
        assert main(["train", "adding:lstm", *TINY, *flags, f"--workdir={place / name}"]) == 0
    return place


def error(capsys, *arguments):
    """Returns the line in which wrong usage ends."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    return printed


def test_export_writes_into_the_run_and_says_how_to_load_it(folder, capsys):
    capsys.readouterr()
    assert main(["export", str(folder / "one"), "--to=safetensors"]) == 0
    out, place = capsys.readouterr().out, folder / "one" / "export" / "safetensors"
    lines = out.splitlines()
    assert lines[0].strip() == str(place)
    sizes = dict(line.split(maxsplit=1) for line in lines[1 : 1 + len(list(place.iterdir()))])
    assert (
        sizes["model.safetensors"] == f"{(place / 'model.safetensors').stat().st_size / 1e3:.1f} kB"
    )
    assert 'load_file("model.safetensors")' in out
    expected = named_weights(ll.load_run(folder / "one").params)
    read = load_file(place / "model.safetensors")
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array)
    # The folder is still that of a run, which --workdir names, too.
    assert main(["export", f"--workdir={folder / 'one'}", "--to=safetensors"]) == 0


def test_of_a_study_the_best_run_is_written_or_the_named_one(folder, tmp_path):
    runs = ll.load_run(folder / "two")
    other = next(run for run in runs if run.folder != runs.best.folder)
    expected = {"best": runs.best, "named": other, "python": runs.best}
    assert (
        main(["export", str(folder / "two"), "--to=safetensors", f"--out={tmp_path / 'best'}"]) == 0
    )
    flags = [f"--run={other.folder.name}", f"--out={tmp_path / 'named'}"]
    assert main(["export", str(folder / "two"), "--to=safetensors", *flags]) == 0
    assert runs.export("safetensors", tmp_path / "python") == tmp_path / "python"
    for name, run in expected.items():
        read = load_file(tmp_path / name / "model.safetensors")
        np.testing.assert_array_equal(read["head/kernel"], run.params["head"]["kernel"])
    assert other.export("safetensors") == other.folder / "export" / "safetensors"


def test_a_notebook_gets_the_same_errors(folder):
    run = ll.load_run(folder / "one")
    with pytest.raises(UserError, match="export: option: got 'opsets'"):
        run.export("onnx", opsets=17)
    with pytest.raises(UserError, match="--opset: it has no effect with --to=stablehlo"):
        run.export("stablehlo", opset=17)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "RUN is required: the folder of a run or a study, e.g. lstm-lab export runs/first"),
        (["{one}"], "--to is required: one of safetensors"),
        (["{one}", "--to=safetensor"], "--to: got 'safetensor'; did you mean 'safetensors'?"),
        (["{one}", "--to=stablehlo", "--opset=17"], "--opset: it has no effect with"),
        (["{one}", "--to=stablehlo", "--run=abc"], "--run: got 'abc', but"),
        (["{two}", "--to=stablehlo", "--run=abc"], "--run: got 'abc', expected one of"),
        (["nowhere", "--to=stablehlo"], "nowhere does not exist"),
        (["{one}/run.json", "--to=stablehlo"], "is a part of a run; did you mean {one}?"),
        (["{one}/checkpoints", "--to=onnx"], "is a part of a run; did you mean {one}?"),
        (["{two}/runs", "--to=onnx"], "is a part of a study; did you mean {two}?"),
        (["{two}/../on", "--to=onnx"], "/on does not exist; did you mean {two}/../one?"),
        (["{one}/..", "--to=onnx"], "holds no run (run.json is missing)"),
        (["{one}", "--workdir=elsewhere", "--to=onnx"], "RUN: got"),
        (["{one}", "--to=ONNX"], "--to: got 'ONNX'; did you mean 'onnx'?"),
        (["{one}", "--to=stablehlo", "--out={one}"], "holds the run itself; choose another"),
        (["{one}", "--to=stablehlo", "--out={one}/.."], "holds the run itself; choose another"),
        (["{one}", "--to=stablehlo", "--out={one}/checkpoints"], "exists and is no export"),
    ],
)
def test_export_refuses_wrong_flags_in_one_line(folder, flags, message, capsys):
    before = sorted(folder.rglob("*"))
    places = {name: str(folder / name) for name in ("one", "two")}
    printed = error(capsys, "export", *[flag.format(**places) for flag in flags])
    assert message.format(**places) in printed
    assert sorted(folder.rglob("*")) == before


def test_a_users_cell_runs_only_with_trust(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from lstm_lab.cells import CellSpec\ncell = CellSpec()\n")
    flags = [*TINY, f"--config.model.cell={tmp_path / 'mine.py'}:cell"]
    assert main(["train", "adding", *flags, f"--workdir={tmp_path / 'w'}"]) == 0
    capsys.readouterr()
    assert "--trust-code" in error(capsys, "export", str(tmp_path / "w"), "--to=safetensors")
    assert main(["export", str(tmp_path / "w"), "--to=safetensors", "--trust-code"]) == 0


def test_weights_that_left_and_came_back_predict_the_same(folder, tmp_path, capsys):
    assert main(["export", str(folder / "one"), "--to=torch", f"--out={tmp_path / 'torch'}"]) == 0
    file, out = tmp_path / "torch" / "model.safetensors", tmp_path / "my weights.safetensors"
    flags = ["--from=torch", "--config=adding:lstm", *TINY, f"--out={out}"]
    capsys.readouterr()
    assert main(["import", str(file), *flags]) == 0
    # The printed command is whole.
    program, *command = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("next: "))
    assert (program, command[-1]) == ("lstm-lab", f"--config.model.init_from={out}")
    begin = ["--config.train.steps=0", f"--workdir={tmp_path / 'again'}"]
    assert main([*command, *begin]) == 0
    first, again = ll.load_run(folder / "one"), ll.load_run(tmp_path / "again")
    assert again.metrics == first.metrics
    x_NTD = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x_NTD), first.predict(x_NTD))


def test_neither_direction_builds_a_kernel(folder, tmp_path, fresh_kernels):
    def build(text, source="cell.cc"):
        raise AssertionError("a kernel is built")

    fresh_kernels.setattr("lstm_lab.recurrence.backends.kernel_library.build", build)
    assert main(["export", str(folder / "one"), "--to=flax", f"--out={tmp_path / 'flax'}"]) == 0
    file, out = tmp_path / "flax" / "params.msgpack", tmp_path / "mine.safetensors"
    flags = ["--from=flax", "--config=adding:lstm", *TINY, f"--out={out}"]
    assert main(["import", str(file), *flags]) == 0


def test_an_export_has_the_card_of_the_run(folder):
    out = ll.load_run(folder / "one").export("safetensors")
    text = (out / "README.md").read_text()
    assert text.startswith("---\n")
    assert "### The files of this folder\n\nThe names are paths" in text


@pytest.fixture
def reader(monkeypatch):
    """A framework whose files hold a head."""

    def read(path, spec, mapping):
        if not mapping:
            raise UserError("import: fc is [7, 1], expected [3, 1]")
        assert (spec.model.hidden, mapping) == (3, {"head": "fc", "embed": "", "ignore": "a:b.*"})
        return {"head/kernel": np.ones((3, 1), np.float32)}

    monkeypatch.setattr(sources, "find_reader", lambda framework: read)


def test_import_writes_our_names_and_says_what_is_missing(reader, tmp_path, capsys):
    file, out = tmp_path / "theirs.dat", tmp_path / "new" / "mine.safetensors"
    file.write_text("theirs")
    flags = ["--from=torch", "--config=adding:lstm", *TINY, f"--out={out}"]
    # Commas join pairs, and the flag can be repeated.
    maps = ["--map=head=fc,embed=", "--map=ignore=a", "--map=ignore=b.*"]
    assert main(["import", str(file), *flags, *maps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["head/kernel", "3", "x", "1"]
    assert "drawn at random: head/bias, lstm/layer_0/b" in lines[3]
    assert lines[-1].startswith("next: lstm-lab train adding:lstm ")
    np.testing.assert_array_equal(load_file(out)["head/kernel"], np.ones((3, 1)))
    with safe_open(out, "numpy") as content:
        assert json.loads(content.metadata()["model"])["hidden"] == 3
    assert "fc is [7, 1], expected [3, 1]" in error(
        capsys, "import", str(file), *flags[:-1], f"--out={tmp_path / 'b.safetensors'}"
    )
    assert not (tmp_path / "b.safetensors").exists()


FROM, CONFIG, OUT = "--from=torch", "--config=adding", "--out=mine.safetensors"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "FILE is required: a file of weights"),
        (["theirs.dat"], "--from is required: one of torch, keras, flax"),
        (["theirs.dat", "--from=jax"], "--from: got 'jax', expected one of torch, keras, flax"),
        (
            ["theirs.dat", "--from=safetensors"],
            "need no import; train with --config.model.init_from",
        ),
        (["theirs.dat", FROM], "--config is required: the name of a config"),
        (["theirs.dat", FROM, CONFIG], "--out is required: the file to write"),
        (
            ["theirs.dat", FROM, CONFIG, "--out=mine.pt"],
            "expected a name that ends in .safetensors",
        ),
        (["a.safetensors", FROM, CONFIG, "--out=a.safetensors"], "or FILE itself"),
        (
            ["theirs.dat", FROM, CONFIG, OUT, "--map=head"],
            "--map: got 'head', expected OURS=THEIRS",
        ),
        (
            ["theirs.dat", FROM, CONFIG, OUT, "--map=head=a", "--map=head=b"],
            "--map: head is both 'a' and 'b', expected one name",
        ),
        (["theirs.dat", FROM, CONFIG, OUT, "--config.model.hiden=3"], "did you mean 'hidden'?"),
        (["none.dat", FROM, CONFIG, OUT], "import: none.dat does not exist"),
    ],
)
def test_import_refuses_wrong_flags_in_one_line(
    reader, flags, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("theirs.dat", "a.safetensors"):
        (tmp_path / name).write_text("theirs")
    assert message in error(capsys, "import", *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "theirs.dat"]
