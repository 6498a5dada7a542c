"""Tags and intents of sentences: what is predicted, and how predictions are described."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.tasks import Tags
from lstm_lab.utils.errors import UserError

CONLL = """# intent = flight
to O
New B-city
York I-city

# intent = fare
how O
much O
"""


@pytest.fixture
def task(tmp_path):
    """A task whose three splits are the same two sentences."""
    path = tmp_path / "train.conll"
    path.write_text(CONLL)
    options = {"train": str(path), "valid": str(path), "test": str(path), "predict": "both"}
    return Tags(**Tags.complete(options, tmp_path))


def test_both_predicts_the_intent_at_the_end_of_a_sentence(task, tmp_path):
    assert task.labels == ("B-city", "I-city", "O")
    assert task.intents == ("fare", "flight")
    dataset = task.load(tmp_path)
    examples = dataset.splits["test"]
    names = dataset.preprocessing["outputs"]
    rows = [
        [names[k] for k in row[:length]]
        for row, length in zip(examples.y, examples.lengths, strict=True)
    ]
    assert rows == [["O", "B-city", "I-city", "flight"], ["O", "O", "fare"]]
    ends = examples.x[np.arange(2), examples.lengths - 1]
    assert {dataset.preprocessing["inputs"][k] for k in ends} == {"<eos>"}
    # <unk>, five words and <eos>.
    assert task.vocabulary == 7
    assert task.target.size == 5
    assert task.metric == "span_f1"


def test_the_share_of_unknown_words_is_shown(task, tmp_path):
    assert task.load(tmp_path).source["notes"] == [
        "unknown with 7 words: 0.0% of train, 0.0% of valid, 0.0% of test"
    ]
    # Of five words, `<eos>` not counted, the vocabulary has two besides <unk> and <eos>.
    (note,) = replace(task, vocabulary=4).load(tmp_path).source["notes"]
    assert note == "unknown with 4 words: 60.0% of train, 60.0% of valid, 60.0% of test"


def test_new_sentences_end_as_those_of_the_training_data(task, tmp_path):
    preprocessing = task.load(tmp_path).preprocessing
    symbols = [preprocessing["inputs"][k] for k in task.read_line("to York", preprocessing)]
    assert symbols == ["to", "york", "<eos>"]


def test_each_step_of_a_prediction_has_a_label_that_it_can_have(task, tmp_path):
    preprocessing = task.load(tmp_path).preprocessing
    # The largest output of the first step is an intent, that of the last step a tag.
    outputs_TC = np.array([[2.0, 1, 0, 9, 0], [0, 0, 3, 0, 0], [9, 0, 0, 1, 2]], np.float32)
    prediction = task.describe_prediction(np.zeros(3, np.int32), outputs_TC, preprocessing)
    assert prediction == {"labels": ["B-city", "O"], "intent": "flight"}


def test_a_tag_and_an_intent_may_have_the_same_name(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(CONLL.replace("fare", "O"))
    options = {"train": str(path), "valid": str(path), "test": str(path), "predict": "both"}
    task = Tags(**Tags.complete(options, tmp_path))
    assert task.intents == ("O", "flight")
    assert task.load(tmp_path).splits["test"].y[1].tolist() == [2, 2, 3, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intents": ("fare",)}, r"'flight', which is not among the 1 .*task\.intents"),
        ({"labels": ("O", "B-town")}, r"'B-city', which is not among the 2 .*task\.labels"),
    ],
)
def test_an_unknown_label_names_its_option(task, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        Tags(**{**vars(task), **options, "sha256": None}).load(tmp_path)


def test_a_config_with_labels_gets_its_intents(task, tmp_path):
    given = {"train": task.train, "labels": task.labels, "sha256": task.sha256, "predict": "both"}
    assert Tags.complete(given, tmp_path)["intents"] == ("fare", "flight")


@pytest.mark.parametrize("options", [{"predict": "both"}, {"intents": ("a", "b")}])
def test_intents_belong_to_both(options):
    with pytest.raises(ValueError, match="intents: got"):
        Tags("train.conll", ("O", "B-a"), **options)


def test_a_file_without_intents_cannot_predict_both(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text("to O\nYork B-city\n")
    with pytest.raises(UserError, match="without an intent"):
        Tags.complete({"train": str(path), "predict": "both"}, tmp_path)
