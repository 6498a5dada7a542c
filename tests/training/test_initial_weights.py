"""Runs that start from existing weights: of a run, of a file, in part, frozen, in lanes."""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from lstm_lab.cli import main
from lstm_lab.config.parsing import build_spec
from lstm_lab.inference.load import load_run
from lstm_lab.interop.safetensors_file import write_weights
from lstm_lab.models.weights import named_weights
from lstm_lab.results.run_files import read_result, write_result
from lstm_lab.training.checkpoint import Checkpoints, best_weights
from lstm_lab.training.initial_weights import initial_member
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import StopRequest, train_run
from lstm_lab.training.parallel import build_program, unpad
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.training import (
    TEXT,
    StopAfter,
    assert_same_record,
    language_spec,
    run_record,
    small_spec,
    train,
)

LSTM = ("lstm/layer_0/b", "lstm/layer_0/wh", "lstm/layer_0/wx")
HEAD = ("head/bias", "head/kernel")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("source")
    train([small_spec(optim={"lr": 0.5})], folder)
    return folder / "0"


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """The folder of a finished run of a language model, and its text."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "text.txt").write_text(TEXT)
    train([language_spec(folder / "text.txt", train={"steps": 10})], folder)
    return folder / "0", folder / "text.txt"


def weights_of(folder):
    return named_weights(best_weights(folder, "test"))


def start_of(spec, layout=None, preprocessing=None):
    program = build_program(spec, 20, layout or Layout("single", 1, 1))
    return initial_member(program, spec, 20, preprocessing or {})


def from_run(folder, parts=(), **sections):
    model = {"init_from": str(folder), "init_parts": parts, **sections.pop("model", {})}
    return small_spec(model=model, **sections)


def test_a_run_without_steps_has_the_scores_of_its_source(source, tmp_path, capsys):
    train([from_run(source, train={"steps": 0}, seed=7)], tmp_path)
    before, now = read_result(source), read_result(tmp_path / "0")
    assert (now["status"], now["steps"], now["best"]["step"]) == ("completed", 0, 0)
    assert now["test"] == before["test"]
    assert now["best"]["valid"] == before["best"]["valid"]
    assert now["weights_sha256"] == before["weights_sha256"]
    assert capsys.readouterr().err.count(f"{source}: weights for 5 of 5 tensors\n") == 1
    recorded = read_json(tmp_path / "0" / "run.json")["initial_weights"]
    names = [*HEAD, *LSTM]
    ended = {"run": before["id"], "status": "completed"}
    assert recorded == {**ended, "loaded": names, "drawn": [], "unmatched": []}


def test_a_fine_tuned_run_needs_its_source_no_more(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    spec = from_run(tmp_path / "source", ("lstm",), train={"steps": 2, "eval_every": 1})
    train([spec], tmp_path)
    shutil.rmtree(tmp_path / "source")
    trained = load_run(tmp_path / "0")
    assert trained.spec.model.init_from is None
    assert main(["report", f"--workdir={tmp_path / '0'}"]) == 0


@pytest.mark.parametrize("frozen", [(), ("lstm",)])
def test_frozen_weights_keep_their_bits_and_others_change(frozen, source, tmp_path):
    spec = from_run(source, optim={"freeze": frozen}, train={"steps": 3, "eval_every": 3}, seed=3)
    train([spec], tmp_path)
    before, now = weights_of(source), weights_of(tmp_path / "0")
    unchanged = {name for name in before if np.array_equal(before[name], now[name])}
    assert unchanged == (set(LSTM) if frozen else set())


def test_parts_are_loaded_and_the_others_drawn(source):
    start = start_of(from_run(source, ("lstm",), seed=3))
    drawn = named_weights(start_of(small_spec(seed=3)).state.params)
    weights, given = named_weights(start.state.params), weights_of(source)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, (given if name in LSTM else drawn)[name])
    assert (start.loaded.loaded, start.loaded.drawn) == (LSTM, HEAD)
    assert start.loaded.line("there") == (
        "there: weights for 3 of 5 tensors; drawn from the seed: head/bias, head/kernel"
    )
    assert start_of(small_spec()).loaded is None


def test_all_copies_of_the_weights_in_a_first_state_are_those_loaded(source):
    """The best so far, the mean of NT-ASGD, and what a rollback goes back to."""
    spec = from_run(source, optim={"average": 2}, train={"on_nan": "rollback"})
    state = start_of(spec).state
    good = state.rollback.good
    for params in (state.best.params, state.average.params, good.params, good.average.params):
        jax.tree.map(np.testing.assert_array_equal, params, state.params)


def test_weights_come_from_a_file_of_any_precision(source, tmp_path):
    weights = weights_of(source)
    path = tmp_path / "weights.safetensors"
    save_file({**weights, "head/bias": weights["head/bias"].astype(np.float64)}, path)
    start = start_of(from_run(path))
    now = named_weights(start.state.params)
    assert all(now[name].dtype == np.float32 for name in now)
    jax.tree.map(np.testing.assert_array_equal, now, weights)
    assert start.loaded.run is None
    # Deeper models have names that the file lacks, and it has some that the model lacks.
    save_file({name: weights[name] for name in LSTM} | {"more": np.ones(2)}, path)
    deeper = start_of(from_run(path, model={"layers": 2})).loaded
    assert deeper.unmatched == ("more",)
    assert deeper.line("f") == (
        "f: weights for 3 of 8 tensors; drawn from the seed: head/bias, head/kernel, "
        "lstm/layer_1/b, lstm/layer_1/wh, lstm/layer_1/wx; not in this model: more"
    )


def test_a_file_that_changes_after_the_run_was_declared_is_refused(source, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(weights_of(source), path)
    spec = from_run(path)
    save_file({"head/bias": np.zeros(1, np.float32)}, path)
    with pytest.raises(
        UserError, match=r"weights\.safetensors was changed after the run was set up; restore"
    ):
        start_of(spec)


@pytest.mark.parametrize(
    ("parts", "hidden", "message"),
    [
        (
            (),
            6,
            r"model.init_from: .*: head/kernel is float32 \[5, 1\], expected float32 \[6, 1\]",
        ),
        (("head/bias", "lstm"), 6, r"lstm/layer_0/b is float32 \[4, 5\], expected .*\[4, 6\]; "),
        (("lstm/layer_1",), 5, "model.init_parts: got 'lstm/layer_1'.* expected one of head, lstm"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_leave_no_folder(
    parts, hidden, message, source, tmp_path
):
    with pytest.raises(UserError, match=message):
        train([from_run(source, parts, model={"hidden": hidden})], tmp_path)
    assert not (tmp_path / "0").exists()


def test_weights_in_the_place_of_those_of_the_run_are_refused(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "source")
    best = folder / "checkpoints" / "best"
    other = jax.tree.map(lambda weight: weight + 1, best_weights(folder, "test"))
    shutil.rmtree(best)
    Checkpoints(best).save(0, other)
    message = r"source are not those that its result\.json records"
    with pytest.raises(UserError, match=f"^model.init_from: .*{message}"):
        start_of(from_run(folder))
    with pytest.raises(UserError, match=f"^workdir: .*{message}"):
        load_run(folder)


@pytest.mark.parametrize("status", ["pruned", "diverged"])
def test_the_line_says_that_a_run_did_not_complete(status, source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "source")
    result = read_result(folder)
    write_result(folder, {**result, "status": status}, result["files"])
    loaded = start_of(from_run(folder)).loaded
    assert loaded.line("there") == f"there ({status}): weights for 5 of 5 tensors"


def exported(path, cell):
    """Writes the first weights of a cell into a file, as an export does."""
    spec = small_spec(model={"cell": cell})
    write_weights(path, named_weights(start_of(spec).state.params), spec)
    return path


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ("cifg", "gru", "cifg with i, o, g and f from i there and gru with r, z, n here"),
        # Equal shapes: without a forget gate, f is 1.
        ("nfg", "cifg", "nfg with i, o, g there and cifg with i, o, g and f from i here"),
        ("nig", "nfg", "nig with f, o, g there and nfg with i, o, g here"),
    ],
)
def test_weights_of_a_cell_with_other_gates_are_refused(before, now, message, tmp_path):
    path = exported(tmp_path / "weights.safetensors", before)
    whole = f"lstm/layer_0/b belongs to a cell with other gates: {message}; "
    with pytest.raises(UserError, match=whole):
        start_of(from_run(path, model={"cell": now}))
    head = start_of(from_run(path, ("head",), model={"cell": now}))
    assert head.loaded.loaded == HEAD


def test_weights_of_a_run_with_other_gates_are_refused(source):
    with pytest.raises(UserError, match="gates: lstm with i, f, o, g there and gru with r, z, n"):
        start_of(from_run(source, model={"cell": "gru"}))


@pytest.mark.parametrize("now", ["peephole", "zoneout", "layernorm"])
def test_cells_with_the_same_gates_take_each_others_weights(now, source):
    assert set(start_of(from_run(source, model={"cell": now})).loaded.loaded) == {*HEAD, *LSTM}


@pytest.mark.parametrize("number", [np.nan, -np.inf, 1e300])
def test_weights_that_are_not_finite_are_refused(number, source, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({**weights_of(source), "lstm/layer_0/b": np.full((4, 5), number)}, path)
    message = r"weights.safetensors: lstm/layer_0/b has \S+ at \[0, 0\], expected finite numbers"
    with pytest.raises(UserError, match=message):
        start_of(from_run(path))


def test_columns_of_another_order_are_refused(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "source")
    write_json(folder / "preprocessing.json", {"names": ["a", "b"]})
    spec = from_run(folder)
    assert start_of(spec, None, {"names": ["a", "b"]}).loaded.drawn == ()
    message = r"lstm/layer_0/wx was trained with other columns: number 0 is 'a' in the source"
    with pytest.raises(UserError, match=message):
        start_of(spec, None, {"names": ["b", "a"]})


def test_weights_without_a_common_name_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"rnn.weight_ih_l0": np.zeros((20, 2), np.float32)}, path)
    message = (
        r"no weight of .*weights.safetensors has a name of this model: it has rnn.weight_ih_l0, "
        r"and the model has head/bias; convert it: lstm-lab import FILE --from=torch$"
    )
    with pytest.raises(UserError, match=message):
        start_of(from_run(path))


def test_a_vocabulary_of_another_order_is_refused(language, tmp_path):
    folder, text = language
    other = tmp_path / "other.txt"
    # The same letters, of which q is the most frequent one.
    other.write_text(text.read_text() + "q" * 200)

    def spec(path, parts=(), **model):
        model |= {"init_from": str(folder), "init_parts": parts}
        return language_spec(path, model=model, train={"steps": 0})

    train([spec(text)], tmp_path / "same")
    assert read_result(tmp_path / "same" / "0")["test"] == read_result(folder)["test"]
    message = (
        r"embed/embedding was trained with other symbols: number \d is ' ' in the source and "
        r"'q' in this run; --config.model.init_parts=lstm leaves it out$"
    )
    with pytest.raises(UserError, match=message):
        train([spec(other)], tmp_path / "other")
    with pytest.raises(UserError, match="head/bias was trained with other symbols"):
        train([spec(other, ("head", "lstm"))], tmp_path / "head")
    train([spec(other, ("lstm",))], tmp_path / "lstm")
    assert read_result(tmp_path / "lstm" / "0")["status"] == "completed"


def test_the_first_layer_of_one_hot_inputs_has_a_vocabulary_too(tmp_path):
    text, other = tmp_path / "text.txt", tmp_path / "other.txt"
    text.write_text(TEXT)
    other.write_text(TEXT + "q" * 200)
    one_hot = {"embedding": None}
    train([language_spec(text, model=one_hot, train={"steps": 0})], tmp_path)

    def start(*parts):
        model = {**one_hot, "init_from": str(tmp_path / "0"), "init_parts": parts}
        spec = language_spec(other, model=model)
        return start_of(spec, None, spec.task.load(Path("nowhere")).preprocessing)

    with pytest.raises(UserError, match="lstm/layer_0/wx was trained with other symbols"):
        start("lstm")
    assert start("lstm/layer_0/wh").loaded.loaded == ("lstm/layer_0/wh",)


def test_a_translation_has_two_vocabularies(tmp_path):
    files = [
        f"{part}_{side}" for part in ("train", "valid", "test") for side in ("source", "target")
    ]
    sizes = {"source_vocabulary": 4, "vocabulary": 4, "sha256": "of files that are not read"}
    config = {
        "task": {"name": "translation", **dict.fromkeys(files, "none.txt"), **sizes},
        "model": {"hidden": 2, "embedding": 2},
        "train": {"epochs": 1},
    }
    targets = ["der", "die", "das", "und"]
    learned = {"sources": ["a", "b", "c", "d"], "inputs": targets, "outputs": targets}
    params = start_of(build_spec(config)).state.params
    Checkpoints(tmp_path / "checkpoints" / "best").save(0, params)
    write_json(tmp_path / "preprocessing.json", learned)
    write_json(tmp_path / "result.json", {})
    config["model"]["init_from"] = str(tmp_path)
    spec = build_spec({**config, "seed": 1})
    start = start_of(spec, None, learned)
    jax.tree.map(np.testing.assert_array_equal, start.state.params, params)
    message = (
        r"embed_source/embedding was trained with other symbols: number 1 is 'b' in the "
        r"source and 'c' in this run"
    )
    with pytest.raises(UserError, match=message):
        start_of(spec, None, learned | {"sources": ["a", "c", "b", "d"]})


def test_each_lane_begins_with_the_weights_and_its_own_seed(source, tmp_path, capsys):
    short = {"train": {"steps": 3, "eval_every": 3}}
    specs = [from_run(source, ("lstm",), **short, seed=seed) for seed in (1, 2, 3)]
    train(specs, tmp_path / "lanes", Layout("single", 1, 2))
    assert capsys.readouterr().err.count("weights for 3 of 5 tensors") == 1
    for k, spec in enumerate(specs):
        train([spec], tmp_path / str(k))
        a, b = (weights_of(folder) for folder in (tmp_path / "lanes" / str(k), tmp_path / f"{k}/0"))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_members_of_different_hidden_size_load_weights_of_their_own_size(source):
    wide = Layout("single", 1, 2, width=7)
    spec = from_run(source)
    state = start_of(spec, wide).state
    assert state.params["lstm"]["layer_0"]["wh"].shape == (7, 4, 7)
    own = named_weights(unpad(wide, spec, state.params))
    jax.tree.map(np.testing.assert_array_equal, own, weights_of(source))
    bigger = replace(spec, model=replace(spec.model, hidden=7))
    with pytest.raises(UserError, match=r"head/kernel is float32 \[5, 1\], expected"):
        start_of(bigger, wide)


@pytest.mark.optimized
def test_an_interrupted_run_resumes_without_its_source(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    spec = from_run(tmp_path / "source", ("lstm",), compute={"devices": 1}, seed=5)
    train_run(spec, tmp_path / "whole", tmp_path, stop=StopRequest())
    stopped = train_run(spec, tmp_path / "run", tmp_path, stop=StopAfter(3))
    assert stopped.status == "interrupted"
    shutil.rmtree(tmp_path / "source")
    record = tmp_path / "run" / "run.json"
    before = read_json(record)["initial_weights"]
    assert main(["train", str(record), f"--workdir={record.parent}"]) == 0
    assert_same_record(run_record(tmp_path / "run"), run_record(tmp_path / "whole"))
    assert read_json(record)["resumed_at"]
    assert read_json(record)["initial_weights"] == before
