"""Runs in Python: training by name, results, predictions, resuming; as on the command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import lstm_lab as ll
from lstm_lab.api.training import comparison_folder, run_folder
from lstm_lab.cli import main
from lstm_lab.config.ids import run_id
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from lstm_lab.utils.tables import ResultTable
from tests.helpers.paths import ROOT
from tests.helpers.training import TINY


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSTM_LAB_DATA", raising=False)


@pytest.fixture
def run():
    return ll.train("adding:peephole", overrides=TINY, workdir="runs/one")


def test_a_run_has_metrics_history_params_and_a_summary(run):
    assert run.status == "completed"
    assert run.id == run_id(run.spec)
    result = read_json(run.folder / "result.json")
    assert run.metrics == result["test"]
    history = run.history
    assert list(history["step"]) == [2, 4]
    assert all(np.isfinite(list(history["valid_mse"])))
    leaves = jax.tree.leaves(run.params)
    assert (2, 4, 3) in {leaf.shape for leaf in leaves}  # input to four gates of three units
    summary = run.summary()
    count = sum(leaf.size for leaf in leaves)
    assert summary["parameters"][-1] == str(count)
    assert len(run.plot().axes) == 2
    assert run.spec.model.cell == "peephole"
    html = run._repr_html_()
    assert "<table>" in html
    assert "trivial: constant" in html
    assert "mse=" in repr(run)


def test_training_ends_with_a_card_which_later_calls_leave_alone(run):
    path = run.folder / "MODEL_CARD.md"
    written = path.read_text()
    assert run.card() == path
    assert path.read_text() == written
    path.write_text("edited")
    ll.train("adding:peephole", overrides=TINY, workdir="runs/one")
    assert path.read_text() == "edited"
    assert run.card("hub/README.md").read_text() == written


class Silent:
    """A logger that does nothing."""

    def start(self, run): ...
    def log(self, *_, **__): ...
    def figure(self, *_, **__): ...
    def end(self, *_, **__): ...


@pytest.mark.parametrize("seeds", [None, 2])
def test_a_finished_run_names_what_only_training_would_have_done(capsys, seeds):
    def said(log=None, **changes):
        capsys.readouterr()
        settings = {**TINY, "compute.log_every": 2, **changes}
        ll.train("adding", seeds=seeds, overrides=settings, workdir="runs/one", log=log)
        return capsys.readouterr().err

    said()
    assert said() == ""
    # The default of the setting asks for nothing.
    assert said(**{"compute.log_every": 200}) == ""
    line = said(Silent, **{"compute.gates": True})
    assert line.count("\n") == 1
    assert "is finished, so compute.gates, log have no effect; another folder (workdir)" in line
    assert said(**{"compute.gates": True}).count("compute.gates has no effect") == 1


def test_a_card_that_cannot_be_written_costs_no_result(capsys):
    folder = Path("runs/one")
    # A folder of this name is what no file can replace.
    (folder / "MODEL_CARD.md").mkdir(parents=True)
    write_json(folder / "run.json", {"status": "failed"})
    run = ll.train("adding:peephole", overrides=TINY, workdir=folder)
    assert run.status == "completed"
    assert "note: there is no model card of runs/one: " in capsys.readouterr().err


def test_the_command_line_trains_the_same_run(run):
    flags = [f"--config.{name}={value}" for name, value in TINY.items()]
    assert main(["train", "adding:peephole", *flags, "--workdir=runs/two"]) == 0
    other = ll.load_run("runs/two")
    assert other.metrics == run.metrics
    assert other.record.id == run.record.id
    overrides = [read_json(r.folder / "run.json")["overrides"] for r in (run, other)]
    assert overrides[0] == overrides[1]


def test_a_config_can_be_a_name_a_mapping_or_a_record(run):
    sections = {
        "task": {"name": "adding", "length": 6, "valid_size": 9, "test_size": 9},
        "model": {"cell": "peephole", "hidden": 3},
        "optim": {"name": "adam", "lr": 0.005, "clip": 1.0},
        "train": {"batch_size": 50, "steps": 4, "eval_every": 2},
    }
    configs = (sections, ConfigDict(sections), run.folder / "run.json", run.spec)
    assert {ll.train(config, workdir="runs/one").metrics["mse"] for config in configs} == {
        run.metrics["mse"]
    }


def test_arrays_give_probabilities_or_values(run):
    x_NTD = np.random.default_rng(0).random((5, 6, 2), np.float32)
    values = run.predict(x_NTD)
    assert values.shape == (5, 1)
    assert run.predict(x_NTD[:0]).shape == (0, 1)
    ragged = run.predict([x_NTD[0], x_NTD[1][:3]])
    np.testing.assert_allclose(ragged[0], values[0], rtol=1e-5)
    assert not np.allclose(ragged[1], values[1])
    # A line of text holds the same numbers.
    line = " ".join(str(float(number)) for number in x_NTD[0].ravel())
    np.testing.assert_allclose(run.predict(line)["values"], values[0], rtol=1e-5)
    with pytest.raises(UserError, match=r"predict: got 3 features, expected 2"):
        run.predict(np.zeros((1, 6, 3)))
    with pytest.raises(UserError, match=r"shape \[2\], expected \[T,2\]; the first axis of an"):
        run.predict(np.zeros((6, 2)))
    np.testing.assert_array_equal(run.predict(jnp.array(x_NTD)), values)


def test_states_are_those_of_the_cell(run):
    x_NTD = np.random.default_rng(0).random((3, 6, 2), np.float32)
    params = run.params["lstm"]["layer_0"]
    h_TBH, _, traced = ll.unroll("peephole", params, x_NTD.swapaxes(0, 1), trace=("*",))
    states = run.states(jnp.array(x_NTD))
    assert list(states) == ["layer_0"]
    assert states["layer_0"].keys() == {"h", "c", "i", "f", "g", "o"}
    np.testing.assert_allclose(states["layer_0"]["h"], h_TBH.swapaxes(0, 1), rtol=1e-5)
    np.testing.assert_allclose(states["layer_0"]["f"], traced["f"].swapaxes(0, 1), rtol=1e-5)
    # Without the padding of the shorter one.
    long, short = run.states([x_NTD[0], x_NTD[1][:4]])
    np.testing.assert_allclose(long["layer_0"]["c"], states["layer_0"]["c"][0], rtol=1e-5)
    np.testing.assert_allclose(short["layer_0"]["c"], states["layer_0"]["c"][1, :4], rtol=1e-5)
    with pytest.raises(UserError, match="got 3 features, expected 2"):
        run.states(np.zeros((1, 6, 3)))


def test_texts_give_answers(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "a good film,good\na bad film,bad\n" * 12)
    run = ll.train(
        f"imdb:{path}",
        overrides={"model.hidden": 4, "train.epochs": 1, "train.batch_size": 4},
    )
    answers = run.predict(["good film", "bad film"])
    assert len(answers) == 2
    assert set(answers[0]) == {"label", "probabilities"}
    assert run.predict("good film") == answers[0]
    # Each answer belongs to the text at its place.
    with pytest.raises(UserError, match="predict: text 2 is empty"):
        run.predict(["good film", " ", "bad film"])
    with pytest.raises(UserError, match="predict: text 2 is of type ndarray, expected only texts"):
        run.predict(["good film", np.array([1])])
    assert run.predict([]) == []
    assert run.predict(np.zeros((0, 3), np.int32)).shape == (0, 2)
    one, other = run.states(["a good film", "film"])
    assert (one["layer_0"]["h"].shape, other["layer_0"]["c"].shape) == ((3, 4), (1, 4))
    lone = run.states("film")["layer_0"]["h"]
    np.testing.assert_allclose(lone, other["layer_0"]["h"], rtol=1e-5)
    with pytest.raises(UserError, match=r"the name of a file; expected its text, as Path\("):
        run.predict(str(path))


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        ("ading", {}, "config: got 'ading'; did you mean 'adding'"),
        ("adding:peepole", {}, "did you mean 'peephole'"),
        ("adding", {"model.hiden": 3}, "did you mean 'hidden'"),
        ("adding", {"model.hidden": "3"}, "model.hidden: got '3', expected a whole number"),
        ("adding", {"model.hidden": 3.5}, "model.hidden: got 3.5, expected a whole number"),
        (17, {}, "config: got 17, expected a name, a file, or a mapping"),
    ],
)
def test_wrong_configs_have_the_message_of_the_command_line(config, overrides, message):
    with pytest.raises(UserError, match=message):
        ll.train(config, overrides=overrides)


def test_other_settings_get_another_folder(run):
    twice = [ll.train("adding", seeds=2, overrides={**TINY, "model.hidden": n}) for n in (2, 3)]
    assert twice[0].folder != twice[1].folder
    with pytest.raises(
        UserError, match=r"holds another run; it differs in model\.hidden: 3, now 5"
    ):
        ll.train("adding:peephole", overrides={**TINY, "model.hidden": 5}, workdir=run.folder)
    with pytest.raises(UserError, match="seeds: got 'three', expected a whole number"):
        ll.train("adding", seeds="three", overrides=TINY)


def test_texts_name_the_folders_that_the_calls_choose():
    """An id changes with every setting of a config, and a text does not."""
    folder = str(run_folder(ll.load_spec("adding:lstm")))
    assert run_folder.__doc__.rstrip().endswith(f"# {folder}")
    for page in ("quick_start.md", "zh/quick_start.md"):
        assert f"folder: {folder}\n" in (ROOT / "docs" / page).read_text()
    # Of the comparison in the line above it: gru, against lstm, with a budget of 4.
    report = comparison_folder("gru", "lstm", "4") / "report" / "report.html"
    assert ll.CellComparison.report.__doc__.rstrip().endswith(f"# {report}")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("", "empty text"),
        (3, "got a int, expected arrays"),
        (None, "got a NoneType"),
        (np.float32(3), "got a float32, expected arrays"),
        (np.array(3.0), "expected arrays"),
        (np.array([]), "expected \\[T,2\\]"),
        ([np.zeros((6, 2)), "0 1"], "text 1 is of type ndarray"),
    ],
)
def test_wrong_inputs_of_predict_are_named(run, x, message):
    with pytest.raises(UserError, match=f"predict: .*{message}"):
        run.predict(x)


SCRIPT = """
import lstm_lab as ll
overrides = {"task.length": 12, "model.hidden": 4, "train.steps": 100_000, "train.eval_every": 500}
print("start", flush=True)
try:
    ll.train("adding", overrides=overrides, workdir="w")
except KeyboardInterrupt as error:
    print("interrupted:", error, flush=True)
"""


def test_an_interrupted_call_leaves_a_run_that_resumes(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "w" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and '"valid"' in metrics.read_text()):
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert "interrupted: run the same" in out
    head = json.loads((tmp_path / "w" / "run.json").read_text())
    assert head["status"] == "interrupted"
    step = json.loads(metrics.read_text().splitlines()[-1])["step"]
    config = tmp_path / "w" / "run.json"
    # The same run resumes: its record counts the step from which it continued.
    code = f"import lstm_lab as ll\nll.train({str(config)!r}, workdir='w')"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    while process.poll() is None and not json.loads(config.read_text())["resumed_at"]:
        pass
    process.kill()
    process.wait()
    assert 0 < json.loads(config.read_text())["resumed_at"][0] <= step


def test_a_table_shows_itself():
    table = ResultTable(("step", "loss"), [(1, 0.5), (2, None)])
    assert table["loss"] == [0.5, None]
    assert str(table) == "step  loss\n1     0.5\n2"
    page = table._repr_html_()
    assert '<td style="text-align:right;padding:2px 12px 2px 0">0.5</td>' in page
    assert "&nbsp;" not in page
    with pytest.raises(KeyError, match="got 'lss', expected one of step, loss"):
        table["lss"]
