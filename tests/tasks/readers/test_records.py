"""Texts with labels and sentences with tags: valid and invalid files of a user."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score as class_f1

from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Batch, Examples, Tags, Text, means, metric_sums
from lstm_lab.tasks.base import Categorical
from lstm_lab.tasks.datasets import tagging
from lstm_lab.tasks.metrics import zero_metrics
from lstm_lab.tasks.readers.records import read_records
from lstm_lab.utils.errors import UserError
from tests.helpers.data import write_sentences

REVIEWS = "text,label\n" + "".join(
    f'"{word}, it was {word} {k}",{label}\n'
    for k in range(15)
    for word, label in (("great", "good"), ("dull", "bad"))
)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_line_separator_of_unicode_stays_inside_a_value(tmp_path, suffix):
    value = "one\u2028two\x85three"
    path = tmp_path / f"a{suffix}"
    rows = {".csv": f"text,label\n{value},x\n", ".jsonl": f'{{"text": "{value}", "label": "x"}}\n'}
    path.write_text(rows[suffix], encoding="utf-8")
    records = read_records(path, ("text", "label"))
    assert [record["text"] for _, record in records] == [value]


def test_a_users_csv_is_read(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(REVIEWS)
    spec = build_spec({"task": {"name": "text", "train": str(path)}, "train": {"steps": 1}})
    assert spec.task.labels == ("bad", "good")
    dataset = spec.task.load(tmp_path)
    sizes = {split: len(part.y) for split, part in dataset.splits.items()}
    assert sizes == {"train": 24, "valid": 3, "test": 3}
    words = dataset.preprocessing["inputs"]
    texts = set()
    for part in dataset.splits.values():
        for x, y, length in zip(*part[:3], strict=True):
            text = [words[number] for number in x[:length]]
            assert text[0] == ("dull", "great")[y]
            texts.add(text[-1])
    assert len(texts - {"<unk>"}) >= 12  # the different numbers at the ends of the texts


def test_long_texts_are_cut_to_max_length(tmp_path):
    rows = [{"text": "a b c d", "label": 1}, {"text": "", "label": 0}] * 4
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    for keep, expected in (("last", ["c", "d"]), ("first", ["a", "b"])):
        task = Text(str(path), ("0", "1"), max_length=2, keep=keep)
        dataset = task.load(tmp_path)
        sequences = {
            tuple(dataset.preprocessing["inputs"][n] for n in x[:length])
            for part in dataset.splits.values()
            for x, _, length in zip(*part[:3], strict=True)
        }
        assert tuple(expected) in sequences
        assert sequences <= {tuple(expected), ("<unk>",)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\n", "has no rows below its header"),
        (
            "a.csv",
            "words,label\nx,1\n",
            "not clear which one has the texts; set task.text",
        ),
        ("a.csv", "text,label\nx,1,2\n", "line 2 has 3 values, expected 2 as in the header"),
        ("a.csv", "text,label\nx\n", "line 2 has 1 values, expected 2"),
        ("a.csv", "text,label\nx,1\n", "has the label '1' alone"),
        ("a.csv", "text,label\nx,1\ny,0\n", "leaves 0 examples for valid"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{oops\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
    ],
)
def test_invalid_records_are_rejected(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Text(**Text.complete({"train": str(path)}, tmp_path)).load(tmp_path)


def test_an_unknown_label_is_named_in_the_error(tmp_path):
    (tmp_path / "a.csv").write_text(REVIEWS)
    (tmp_path / "b.csv").write_text("text,label\nso so,middling\n")
    task = Text("a.csv", ("bad", "good"), test="b.csv")
    with pytest.raises(UserError, match="line 2 has the label 'middling', expected one of those"):
        task.load(tmp_path)


def test_a_quoted_line_break_does_not_end_a_record(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"one\n\ntwo",1\nthree,0\n')
    records = read_records(tmp_path / "a.csv", ("text", "label"))
    assert [record["text"] for _, record in records] == ["one\n\ntwo", "three"]


CONLL = "-DOCSTART- X O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n"


def test_a_users_conll_file_is_read(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(CONLL * 10)
    sentences = tagging.read_sentences(path)
    assert sentences[0] == (["EU", "rejects"], ["B-ORG", "O"], "", 3)
    assert sentences[1].tags == ["B-PER", "I-PER"]
    task = build_spec({"task": {"name": "tags", "train": str(path)}, "train": {"steps": 1}}).task
    assert task.labels == ("B-ORG", "B-PER", "I-PER", "O")
    dataset = task.load(tmp_path)
    assert len(dataset.splits["train"].x) == 16
    path.write_text("EU\n")
    with pytest.raises(UserError, match="line 1 has 'EU' and no tag"):
        tagging.read_sentences(path)


def test_a_folder_of_requests_is_read(tmp_path):
    write_sentences(tmp_path)
    names = [f"atis/{part}" for part in ("train", "dev", "test")]
    for predict, labels in (
        ("tags", ("B-from", "B-to", "I-from", "I-to", "O")),
        ("intent", ("fare", "flight")),
    ):
        files = dict(zip(("train", "valid", "test"), names, strict=True))
        task = Tags(**Tags.complete({**files, "predict": predict}, tmp_path))
        assert task.labels == labels
        train = task.load(tmp_path).splits["train"]
        assert train.y.shape == (train.x.shape if predict == "tags" else train.x.shape[:1])
    (tmp_path / "atis" / "dev" / "label").write_text("fare\n")
    with pytest.raises(UserError, match="seq.in, seq.out and label of 12, 12, 1 lines"):
        tagging.read_sentences(tmp_path / "atis" / "dev")
    too_few_labels = Tags(names[0], ("O", "B-to"))
    with pytest.raises(UserError, match=r"line \d+ has 'B-from', which is not among the 2"):
        too_few_labels.load(tmp_path)


def metrics_over_batches(target, guess, y, lengths):
    """Returns the metrics of predictions, summed batch by batch."""
    total = zero_metrics(target)
    for rows in np.array_split(np.arange(len(y)), 3):
        logits = jnp.eye(target.size)[guess[rows]]
        examples = Examples(y[rows], y[rows], None if lengths is None else lengths[rows])
        batch = Batch(examples, jnp.ones(len(rows)), jnp.arange(len(rows)))
        metrics = metric_sums(target, logits, batch)
        total = {k: tuple(a + b for a, b in zip(total[k], metrics[k], strict=True)) for k in total}
    return {name: float(value) for name, value in means(target, total).items()}


@pytest.mark.parametrize("seed", range(3))
def test_macro_f1_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 50, p=[0.7, 0.2, 0.1, 0.0])  # one class never occurs
    guess = np.where(rng.random(50) < 0.4, rng.integers(0, 3, 50), y)
    metrics = metrics_over_batches(Categorical(4, metrics=("accuracy", "macro_f1")), guess, y, None)
    assert metrics["macro_f1"] == pytest.approx(class_f1(y, guess, average="macro"), abs=1e-6)
    assert metrics["accuracy"] == pytest.approx((y == guess).mean(), abs=1e-6)


def test_a_file_that_changed_is_rejected(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(REVIEWS)
    task = build_spec({"task": {"name": "text", "train": str(path)}, "train": {"steps": 1}}).task
    path.write_text(REVIEWS.replace("great", "good"))
    with pytest.raises(UserError, match="changed since the run was configured"):
        task.load(Path())
