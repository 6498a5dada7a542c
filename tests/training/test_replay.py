"""`train --replay`: one step of a run, done again, and what in it is not finite."""

import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.training.loop import StopRequest, train_run
from lstm_lab.training.replay import replay
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.training import StopAfter, growing_spec, language_spec, small_spec


def files_of(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def test_a_replay_measures_what_the_run_recorded(tmp_path):
    """Every call of this run has one step, so that its record has the loss of each."""
    spec = small_spec(
        compute={"log_every": 1, "devices": 1},
        optim={"name": "adam", "plateau": 1, "plateau_factor": 0.9},
    )
    train_run(spec, tmp_path / "run", tmp_path, stop=StopRequest())
    rows = [r for r in read_lines(tmp_path / "run" / "metrics.jsonl") if r["split"] == "train"]
    before = files_of(tmp_path / "run")
    for step in (1, 7, 16, 20):
        again = replay(spec, tmp_path / "run", tmp_path, step)
        row = rows[step - 1]
        for name in ("loss", "grad_norm", "update_ratio", "lr"):
            assert getattr(again, name) == pytest.approx(row[name], rel=1e-5)
        assert (again.activation, again.gradients) == (None, ())
        # The run keeps the checkpoints of steps 10 and 15: it does not evaluate at its last step.
        assert again.start == {1: 0, 7: 0, 16: 15, 20: 15}[step]
    assert files_of(tmp_path / "run") == before


def test_a_replay_of_a_diverged_step_names_the_first_fault(tmp_path, capsys, monkeypatch):
    spec = growing_spec(compute={"devices": 1})
    folder = tmp_path / "run"
    train_run(spec, folder, tmp_path, stop=StopRequest())
    found = read_json(folder / "result.json")["divergence"]
    again = replay(spec, folder, tmp_path, found["step"])
    assert str(again.loss) == str(found["loss"]) or again.loss == pytest.approx(found["loss"])
    assert again.gradients
    assert again.batch == found["batch"]
    before = replay(spec, folder, tmp_path, found["step"] - 1)
    assert (before.activation, before.gradients) == (None, ())
    assert np.isfinite([before.loss, before.grad_norm]).all()
    monkeypatch.chdir(tmp_path)
    code = main(["train", "run/run.json", "--workdir=run", f"--replay={found['step']}"])
    out = capsys.readouterr().out
    assert code == 0
    assert f"gradients that are not finite: {again.gradients[0]}" in out
    assert f"batch: data_seed 0, step {found['step']}" in out


def test_a_replay_names_the_first_module_with_a_faulty_output(tmp_path):
    """Infinite weights of the second layer: the first one stays finite."""
    from lstm_lab.training.checkpoint import Checkpoints

    spec = small_spec(model={"layers": 2}, compute={"devices": 1})
    folder = tmp_path / "run"
    train_run(spec, folder, tmp_path, stop=StopAfter(3))
    checkpoints = Checkpoints(folder / "checkpoints" / "latest")
    saved = checkpoints.restore()
    layer = saved.tree["state"]["params"]["lstm"]["layer_1"]
    layer["wx"] = np.full_like(layer["wx"], np.nan)
    checkpoints.save(saved.step + 1, saved.tree)
    again = replay(spec, folder, tmp_path, 11)
    assert again.start == 10
    assert again.activation == "lstm/layer_1"


def test_a_step_of_a_stream_is_repeated_with_its_carried_state(tmp_path, text):
    spec = language_spec(text, compute={"devices": 1, "log_every": 1})
    train_run(spec, tmp_path / "run", tmp_path, stop=StopAfter(25))
    rows = [r for r in read_lines(tmp_path / "run" / "metrics.jsonl") if r["split"] == "train"]
    again = replay(spec, tmp_path / "run", tmp_path, 22)
    assert again.loss == pytest.approx(rows[21]["loss"], rel=1e-5)
    assert again.start == 20


@pytest.mark.parametrize(
    ("folder", "step", "message"),
    [
        ("nothing", 3, "does not hold this run"),
        ("run", 21, "expected a step of the run, 1 to 20"),
        ("run", 19, "the run ended at step 5; its first step that is not finite is"),
    ],
)
def test_a_step_that_cannot_be_repeated_is_one_line(folder, step, message, tmp_path):
    spec = growing_spec(compute={"devices": 1})
    train_run(spec, tmp_path / "run", tmp_path, stop=StopRequest())
    with pytest.raises(UserError, match=f"^--replay: .*{message}"):
        replay(spec, tmp_path / folder, tmp_path, step)


def test_a_replay_starts_with_the_word_vectors_of_the_run(tmp_path, text):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("".join(f"{word} {5.0 + k} 7 9 2\n" for k, word in enumerate("abc")))
    spec = language_spec(
        text, model={"vectors": str(vectors)}, compute={"log_every": 1, "devices": 1}
    )
    train_run(spec, tmp_path / "run", tmp_path, stop=StopRequest())
    row = read_lines(tmp_path / "run" / "metrics.jsonl")[0]
    assert replay(spec, tmp_path / "run", tmp_path, 1).loss == pytest.approx(row["loss"], rel=1e-5)


def test_a_step_before_a_rollback_is_repeated_as_it_was(tmp_path):
    """The checkpoint after the rollback has another learning rate."""
    spec = growing_spec(
        train={"steps": 20, "eval_every": 5, "on_nan": "rollback"}, compute={"devices": 1}
    )
    train_run(spec, tmp_path / "run", tmp_path, stop=StopAfter(4))
    assert read_json(tmp_path / "run" / "run.json")["rollbacks"]
    again = replay(spec, tmp_path / "run", tmp_path, 4)
    assert again.lr == pytest.approx(spec.optim.lr)
    assert not np.isfinite(again.loss)
