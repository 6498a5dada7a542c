"""Damaged checkpoints: every kind is named, and the results are those of an undisturbed run."""

import errno
import json
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lstm_lab.models import summary
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.layout import Layout
from lstm_lab.utils.files import read_json, read_lines, write_json
from tests.helpers.training import StopAfter, assert_same_record, run_record, small_spec, train

SPEC = small_spec(optim={"name": "adam", "lr": 0.01}, compute={"log_every": 2})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train([SPEC], folder)
    return run_record(folder / "0")


@pytest.fixture(scope="module")
def stopped_folder(tmp_path_factory):
    """The folder of a run that was stopped after step 12, with checkpoints of steps 10 and 12."""
    folder = tmp_path_factory.mktemp("stopped")
    assert train([SPEC], folder, stop=StopAfter(7)).status == "interrupted"
    return folder


def rehash(path):
    """Gives a changed checkpoint hashes that fit, as if it had been written like this."""
    from lstm_lab.training.checkpoint import _hashes

    write_json(path / "sha256.json", _hashes(path))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def data_file(path):
    return max((path / "default" / "d").iterdir(), key=lambda p: p.stat().st_size)


def rewrite(path, change):
    """Replaces a checkpoint by a whole one with other contents."""
    tree = change(Checkpoints(path.parent).restore().tree)
    other = Checkpoints(path.parent.parent / "other")
    other.save(int(path.name), tree)
    shutil.rmtree(path)
    shutil.move(other.folder / path.name, path)


def scale_lanes(tree):
    return jax.tree.map(lambda a: a[:, :1] if a.ndim > 1 else a, tree)


DAMAGE = {
    "a flipped bit in the arrays": lambda path: flip(data_file(path)),
    "a flipped bit in the metadata": lambda path: flip(path / "default" / "_METADATA"),
    "a truncated file": lambda path: data_file(path).write_bytes(b"\x00\x01"),
    "an empty file": lambda path: data_file(path).write_bytes(b""),
    "a missing file": lambda path: data_file(path).unlink(),
    "a missing manifest": lambda path: (path / "default" / "manifest.ocdbt").unlink(),
    "no metadata": lambda path: (path / "default" / "_METADATA").unlink(),
    "no checkpoint metadata": lambda path: (path / "default" / "_CHECKPOINT_METADATA").unlink(),
    "no JSON": lambda path: (path / "default" / "_CHECKPOINT_METADATA").write_text("["),
    "no hashes": lambda path: (path / "sha256.json").unlink(),
    "hashes of another kind": lambda path: (path / "sha256.json").write_text("[1, 2]"),
    "no arrays": lambda path: shutil.rmtree(path / "default"),
    "an empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
    "a file for a folder": lambda path: (shutil.rmtree(path), path.write_text("x")),
    "metadata that orbax cannot read": lambda path: (
        (path / "default" / "_METADATA").write_text("{}"),
        rehash(path),
    ),
    "a foreign tree": lambda path: rewrite(path, lambda _: {"weights": np.ones(3)}),
    "other shapes": lambda path: rewrite(path, scale_lanes),
    "other dtypes": lambda path: rewrite(
        path, lambda tree: jax.tree.map(lambda a: a.astype(np.float16), tree)
    ),
    "a folder of another version": lambda path: (
        (path / "sha256.json").unlink(),
        shutil.copy(path / "default" / "_CHECKPOINT_METADATA", path),
        (path / "default" / "_METADATA").unlink(),
    ),
}


@pytest.mark.optimized
@pytest.mark.parametrize("everywhere", [False, True], ids=["the newest", "all"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_changes_no_result(
    kind, everywhere, tmp_path, stopped_folder, undisturbed, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(stopped_folder, folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    steps = checkpoints.steps()
    assert len(steps) == 2
    for step in steps if everywhere else steps[:1]:
        DAMAGE[kind](folder / "checkpoints" / str(step))
    assert train([SPEC], folder).status == "completed"
    error = capsys.readouterr().err
    assert f"{folder / 'checkpoints' / str(steps[0])} is damaged: " in error
    resumed_at = read_json(folder / "0" / "run.json")["resumed_at"]
    if everywhere:
        assert "training starts again" in error
        assert resumed_at == []
    else:
        assert "training continues from the checkpoint before" in error
        assert resumed_at == [10]
    assert "Traceback" not in error
    assert_same_record(run_record(folder / "0"), undisturbed)


def test_an_undamaged_checkpoint_is_used_with_no_word_on_damage(tmp_path, stopped_folder, capsys):
    shutil.copytree(stopped_folder, tmp_path / "run")
    train([SPEC], tmp_path / "run")
    assert capsys.readouterr().err == "resumes at step 10 of 20\n"


def test_two_checkpoints_stay_and_killed_writes_are_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 5):
        checkpoints.save(step, {"a": np.full(3, step)})
    for name in (".6.123", "6.orbax-checkpoint-tmp"):
        (tmp_path / name).mkdir()
    checkpoints.save(6, {"a": np.full(3, 6)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "6"]
    assert checkpoints.restore().step == 6


def test_a_damaged_checkpoint_does_not_replace_a_whole_one(tmp_path):
    """Of those that stay, both can be read."""
    for step in (1, 2):
        Checkpoints(tmp_path).save(step, {"a": np.full(3, step)})
    flip(largest(tmp_path / "2"))
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore().step == 1
    checkpoints.save(3, {"a": np.full(3, 3)})
    assert checkpoints.steps() == [3, 1]


def test_an_error_of_a_write_names_the_checkpoint(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file/latest/1'$"):
        Checkpoints(tmp_path / "file" / "latest").save(1, {"a": np.ones(3)})


def test_a_full_disk_is_found_before_the_write_and_leaves_nothing(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": np.ones(3)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save(2, {"a": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert checkpoints.restore().step == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ESTALE, errno.EIO])
def test_a_checkpoint_that_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch, number):
    """The next `save` removes damaged checkpoints, and this one may be whole."""
    Checkpoints(tmp_path).save(1, {"a": np.ones(3)})

    def refuse(folder):
        raise OSError(number, os.strerror(number), "arrays")

    monkeypatch.setattr("lstm_lab.training.checkpoint._hashes", refuse)
    with pytest.raises(OSError, match=os.strerror(number)):
        Checkpoints(tmp_path).restore()


@pytest.mark.parametrize("error", [MemoryError("3 GiB"), ValueError("Too many open files")])
def test_an_error_of_the_reader_of_a_whole_checkpoint_is_no_damage(tmp_path, monkeypatch, error):
    Checkpoints(tmp_path).save(1, {"a": np.ones(3)})

    def fail(self, *args, **kwargs):
        raise error

    monkeypatch.setattr("orbax.checkpoint.Checkpointer.restore", fail)
    with pytest.raises((MemoryError, OSError), match=str(error)):
        Checkpoints(tmp_path).restore()


def test_a_limit_that_orbax_meets_while_it_writes_names_the_checkpoint(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise ValueError("OUT_OF_RANGE: Error writing\nmore")

    monkeypatch.setattr("orbax.checkpoint.Checkpointer.save", fail)
    with pytest.raises(OSError, match="ValueError: OUT_OF_RANGE: Error writing: '.*/1'$"):
        Checkpoints(tmp_path).save(1, {"a": np.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_a_process_that_took_over_stay(tmp_path):
    """They have higher numbers."""
    owner, slow = Checkpoints(tmp_path), Checkpoints(tmp_path)
    owner.save(58, {"a": np.ones(3)})
    owner.save(59, {"a": np.ones(3)})
    (tmp_path / ".60.123").mkdir()
    (tmp_path / ".1.123").mkdir()
    slow.save(2, {"a": np.zeros(3)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".60.123", "2", "58", "59"]


@pytest.mark.optimized
@pytest.mark.parametrize("lanes", [2, 6])
def test_a_checkpoint_is_restored_into_another_number_of_lanes(lanes, tmp_path, capsys):
    """As after running out of memory, which halves the lanes."""
    specs = [replace(SPEC, seed=k) for k in range(5)]
    train(specs, tmp_path / "a", Layout("single", 1, lanes))
    train(specs, tmp_path / "b", Layout("single", 1, 4), stop=StopAfter(2))
    assert train(specs, tmp_path / "b", Layout("single", 1, lanes)).status == "completed"
    assert f"has 4 lanes and the program has {lanes}" in capsys.readouterr().err
    resumed = [bool(read_json(tmp_path / f"b/{k}/run.json")["resumed_at"]) for k in range(5)]
    assert resumed == [True] * min(lanes, 4) + [False] * (5 - min(lanes, 4))
    for k in range(5):
        a, b = (run_record(tmp_path / run / str(k)) for run in "ab")
        np.testing.assert_allclose(a[0]["test"]["mse"], b[0]["test"]["mse"], rtol=1e-5)
        assert [row["step"] for row in a[1]] == [row["step"] for row in b[1]]


def cut_last_line(path):
    path.write_bytes(path.read_bytes()[:-20])


def drop_last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def drop_middle_line(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1] + lines[2:]))


@pytest.mark.optimized
@pytest.mark.parametrize("damage", [cut_last_line, drop_last_line, drop_middle_line, flip])
def test_a_record_with_a_gap_starts_again(damage, tmp_path, undisturbed, capsys):
    """The last line is an evaluation, and the line before has the same step."""
    folder = tmp_path / "run"
    # The first call has one step, a row two, and an evaluation comes at the fifth.
    train([SPEC], folder, stop=StopAfter(7))
    rows = read_lines(folder / "0" / "metrics.jsonl")
    assert [(row["step"], row["split"]) for row in rows[-2:]] == [(10, "train"), (10, "valid")]
    damage(folder / "0" / "metrics.jsonl")
    assert train([SPEC], folder).status == "completed"
    assert "is not whole: the run starts again" in capsys.readouterr().err
    assert read_json(folder / "0" / "run.json")["resumed_at"] == []
    assert_same_record(run_record(folder / "0"), undisturbed)


def test_rows_after_the_checkpoint_are_cut(tmp_path, stopped_folder, undisturbed):
    """A process that was killed between two checkpoints has recorded more than the older holds."""
    folder = tmp_path / "run"
    shutil.copytree(stopped_folder, folder)
    metrics = folder / "0" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + json.dumps({"step": 20, "split": "train"}) + "\n{")
    train([SPEC], folder)
    assert len(read_lines(metrics)) == len(undisturbed[1])


def test_parts_of_killed_writes_are_removed_from_the_run(tmp_path, stopped_folder):
    folder = tmp_path / "run"
    shutil.copytree(stopped_folder, folder)
    for name in (".run.json.17", ".metrics.jsonl.4242", ".mine"):
        (folder / "0" / name).write_text("{")
    train([SPEC], folder)
    hidden = {p.name for p in (folder / "0").iterdir() if p.name.startswith(".")}
    assert hidden == {".mine"}


def test_a_run_that_resumes_with_another_backend_says_so(tmp_path, stopped_folder, capsys):
    folder = tmp_path / "run"
    shutil.copytree(stopped_folder, folder)
    other = replace(SPEC, compute=replace(SPEC.compute, backend="scan"))
    train([other], folder)
    notes = re.findall(
        "note: began with the backend .* continues with scan: results will differ.*",
        capsys.readouterr().err,
    )
    assert len(notes) == 1


def test_checkpoints_are_saved_at_the_same_time_and_messages_stay_on(tmp_path):
    """Eight runs end together; orbax's messages are hidden only while it works."""
    logger = logging.getLogger("absl")
    before = (logger.level, list(logger.filters))
    trees = [{"w": np.full((2, 3), k, np.float32)} for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: Checkpoints(tmp_path / str(k)).save(1, trees[k]), range(8)))
    assert (logger.level, logger.filters) == before
    for k, tree in enumerate(trees):
        restored = Checkpoints(tmp_path / str(k)).restore()
        assert not restored.damaged
        np.testing.assert_array_equal(restored.tree["w"], tree["w"])


def test_the_model_of_a_cohort_is_counted_once(tmp_path, monkeypatch):
    counted = []
    real = summary.summarize
    monkeypatch.setattr(summary, "summarize", lambda *args: counted.append(1) or real(*args))
    summary._summarize.cache_clear()
    train([small_spec(seed=seed) for seed in range(3)], tmp_path)
    assert len(counted) == 1
