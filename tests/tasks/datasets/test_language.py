"""Texts: their symbols and splits, and errors in files."""

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.config.ids import run_id
from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Language, Stream, steps_per_epoch
from lstm_lab.tasks.readers import text as text_reader
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.tasks.readers.text import encode, encode_rows, most_frequent
from lstm_lab.tasks.readers.words import words_of
from lstm_lab.tasks.source import describe_source, preprocessing_record
from lstm_lab.training.optimizer import schedule, schedule_length
from lstm_lab.utils.errors import UserError
from tests.helpers.data import write_texts
from tests.helpers.paths import ROOT


def test_lines_end_with_eos_and_rare_words_are_unknown(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat\nthe dog\n\nthe cat <unk>\n" * 2)
    task = Language(str(tmp_path / "a.txt"), vocabulary=4, valid_share=0.25, test_share=0.25)
    dataset = task.load(tmp_path)
    assert dataset.preprocessing["inputs"] == ("<unk>", "<eos>", "the", "cat")
    train = dataset.splits["train"].tokens
    np.testing.assert_array_equal(train, [2, 3, 0, 1, 2, 0, 1, 1, 2, 3, 0, 1])
    parts = [dataset.splits[k].tokens for k in ("train", "valid", "test")]
    assert sum(map(len, parts)) == 24
    assert [len(p) for p in parts] == [12, 6, 6]


def test_separate_split_files_share_the_vocabulary_of_training(tmp_path):
    write_texts(tmp_path)
    names = {split: f"ptb/ptb.{split}.txt" for split in ("train", "valid", "test")}
    dataset = Language(**names, vocabulary=8).load(tmp_path)
    assert len(dataset.splits["valid"].tokens) == 9 * 10
    assert set(dataset.preprocessing["inputs"]) == {
        "<unk>",
        "<eos>",
        "a",
        "the",
        "cat",
        "N",
        "sat",
        "n.v.",
    }
    assert steps_per_epoch(dataset.splits["train"], 4) == (599 // 4) // 20


def test_chinese_text_is_read_symbol_by_symbol(tmp_path):
    text = "春眠不覺曉,處處聞啼鳥。\r\n夜來風雨聲,花落知多少。\r\n" * 20
    path = tmp_path / "poem.txt.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8-sig")))
    task = build_spec(
        {
            "task": {"name": "language", "train": str(path), "unit": "character"},
            "train": {"steps": 1},
        }
    ).task
    dataset = task.load(tmp_path)
    assert task.vocabulary == 1 + len(set(text) - {"\r"})
    symbols = dataset.preprocessing["inputs"]
    whole = "".join(
        symbols[n] for k in ("train", "valid", "test") for n in dataset.splits[k].tokens
    )
    assert whole == text.replace("\r\n", "\n")
    assert words_of("I don't—know <br/> 晓晓!") == [
        "i", "don't", "—", "know", "<", "br", "/", ">", "晓", "晓", "!",
    ]  # fmt: skip


def test_the_most_frequent_words_come_first_and_ties_keep_their_order():
    assert most_frequent(["b", "a", "b", "c", "a", "d"], 4) == ("<unk>", "b", "a", "c")
    np.testing.assert_array_equal(encode(["d", "a"], ("<unk>", "a")), [0, 1])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text() | st.text("abAB é小😀\n"), st.integers(2, 9), st.integers(1, 5))
def test_a_string_is_the_sequence_of_its_characters(text, size, part):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_reader, "PART", part)
        vocabulary = most_frequent(text, size)
        assert vocabulary == most_frequent(list(text), size)
        numbers = encode(text + "?\u0301", vocabulary)
        np.testing.assert_array_equal(numbers, encode([*text, "?", "\u0301"], vocabulary))


def test_a_long_text_takes_a_few_bytes_per_character(tmp_path, monkeypatch):
    """One string, parts of it, and int32 numbers; objects would take 16 bytes more each."""
    monkeypatch.setattr(text_reader, "PART", 2**16)
    (tmp_path / "long.txt").write_text("abcdefgh\n" * 200_000)
    task = Language(str(tmp_path / "long.txt"), unit="character", vocabulary=10)
    tracemalloc.start()
    try:
        train = task.load(tmp_path).splits["train"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(train.tokens) == 1_620_000
    fixed = 14e6  # tables of all code points
    assert peak <= fixed + 8 * 1_800_000


class CountedVocabulary(tuple):
    """Counts how often its symbols are visited."""

    visits = 0

    def __iter__(self):
        CountedVocabulary.visits += 1
        return super().__iter__()


def test_many_rows_are_numbered_by_one_dictionary():
    vocabulary = CountedVocabulary(("<unk>", "a", "b"))
    rows = [["a"], ["b", "?", "a"], []] * 50
    numbers, lengths = encode_rows(rows, vocabulary)
    assert numbers.dtype == lengths.dtype == np.int32
    np.testing.assert_array_equal(numbers, [[1, 0, 0], [2, 0, 1], [0, 0, 0]] * 50)
    np.testing.assert_array_equal(lengths, [1, 3, 0] * 50)
    # Predictions encode line by line.
    for row in rows:
        encode(row, vocabulary)
    assert CountedVocabulary.visits == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        ("été\nété\n".encode() + "été".encode("latin-1"), "line 3 is not UTF-8 .byte 0xe9"),
    ],
)
def test_an_invalid_text_file_is_rejected(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_text(tmp_path / "a.txt")


def test_missing_short_or_changed_files_are_rejected(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.txt does not exist, neither here nor in"):
        Language("nowhere.txt").load(tmp_path)
    path = tmp_path / "a.txt"
    path.write_text("abc\n")
    with pytest.raises(UserError, match="leaves valid 0 symbols of 2"):
        Language(str(path), unit="character").load(tmp_path)
    path.write_text("abcd" * 50)
    config = {
        "task": {"name": "language", "train": str(path), "unit": "character"},
        "train": {"steps": 1},
    }
    spec = build_spec(config)
    spec.task.load(tmp_path)
    path.rename(tmp_path / "b.txt")
    moved = build_spec({**config, "task": {**config["task"], "train": str(tmp_path / "b.txt")}})
    assert run_id(moved) == run_id(spec)  # the id does not depend on the path
    (tmp_path / "b.txt").write_text("abcd" * 51)
    with pytest.raises(UserError, match="changed since the run was configured"):
        moved.task.load(Path())


def test_a_text_too_short_for_the_tracks_of_a_batch_is_rejected(tmp_path):
    stream = Stream(np.arange(36), T=5)
    assert steps_per_epoch(stream, 35) == 1
    with pytest.raises(UserError, match="batch_size: got 36, .* has 36 symbols; expected 35 or"):
        steps_per_epoch(stream, 36)
    path = tmp_path / "a.txt"
    path.write_text("abcd" * 10)
    task = {"name": "language", "train": str(path), "unit": "character"}
    spec = build_spec({"task": task, "train": {"epochs": 1, "batch_size": 50}})
    with pytest.raises(UserError, match="train.batch_size: got 50, but the training text has 36"):
        spec.schedule_steps(spec.task.load(tmp_path).splits["train"])


def test_the_share_of_unknown_words_is_recorded_and_shown(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a b\n" * 90 + "a c\n" * 10)
    config = {"task": {"name": "language", "train": str(path)}, "train": {"steps": 1}}
    task = build_spec(config).task
    dataset = task.load(tmp_path)
    third = pytest.approx(5 / 15)
    assert dataset.preprocessing["unknown"] == {"train": 0.0, "valid": third, "test": third}
    note = "unknown with 4 words: 0.0% of train, 33.3% of valid, 33.3% of test"
    assert describe_source(dataset) == [f"note: {note}"]
    assert preprocessing_record(dataset)["source"]["notes"] == [note]
    few = replace(task, vocabulary=3).load(tmp_path).preprocessing
    assert few["unknown"]["train"] == pytest.approx(90 / 270)
    # The texts of the package have the vocabularies of their papers.
    assert replace(task, sha256=None).load(tmp_path).source == {}


@pytest.mark.parametrize("words", ["", ",medium", ",gal"])
def test_the_schedule_of_a_text_counts_its_own_epochs(tmp_path, words):
    path = tmp_path / "a.txt"
    path.write_text("to be or not to be\n" * 2000)
    config = run_path(str(ROOT / "configs" / "ptb.py"))["get_config"](f"{path}{words}")
    spec = build_spec(config.to_dict())
    train = spec.task.load(tmp_path).splits["train"]
    epoch = steps_per_epoch(train, spec.train.batch_size)
    total, _ = spec.schedule_steps(train)
    assert total == spec.train.epochs * epoch
    rate = schedule(spec.optim, schedule_length(spec, total))
    begin = {"": 3, ",medium": 5, ",gal": 10}[words]
    # At the start, full steps; then one fall per epoch of this text, right at its first step.
    last = (begin + 1) * epoch - 1
    falls = [float(rate(jnp.int32(step))) for step in (0, last, last + 1, last + 1 + epoch)]
    factor = spec.optim.decay_rate
    np.testing.assert_allclose(falls, [1.0, 1.0, factor, factor**2], rtol=1e-6)


def test_the_schedule_of_the_treebank_counts_its_updates():
    optim = run_path(str(ROOT / "configs" / "ptb.py"))["get_config"]().optim
    # (929,589 words - 1) / 20 tracks / 20 steps; archived runs have these numbers in their ids.
    assert (optim.decay_unit, optim.decay_begin, optim.decay_steps) == ("update", 6969, 2323)
