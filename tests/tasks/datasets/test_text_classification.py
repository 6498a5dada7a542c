"""Texts with labels: columns, missing values, and tables to predict."""

import pytest

from lstm_lab.utils.errors import UserError
from tests.helpers.tables import load, task_of, write

REVIEWS = [f'"a {word} film, {k}",{k % 2}' for k, word in enumerate(["good", "dull"] * 20)]


def test_columns_of_texts_are_found_where_there_is_no_doubt(tmp_path):
    path = write(
        tmp_path, "a.csv", "id,review,sentiment", *(f"{k},{r}" for k, r in enumerate(REVIEWS))
    )
    task, data = load("text", train=path)
    assert (task.text, task.label, task.labels) == ("review", "sentiment", ("0", "1"))
    assert data.source["left_out"] == {"id": "not used"}
    doubled = write(
        tmp_path, "b.csv", "review,a,b", *(f"{r},{k % 3}" for k, r in enumerate(REVIEWS))
    )
    with pytest.raises(UserError, match="set task.label to one of review, a, b"):
        task_of("text", train=doubled)
    assert task_of("text", train=doubled, label="b").labels == ("0", "1", "2")
    with pytest.raises(UserError, match="no column 'reviews'; did you mean 'review'"):
        task_of("text", train=path, text="reviews")


def test_the_share_of_unknown_words_is_shown(tmp_path):
    train = write(tmp_path, "a.csv", "text,label", *("good film,1", "dull film,0") * 5)
    test = write(tmp_path, "b.csv", "text,label", "good,1", "qwerty zxcv film,0")
    _, data = load("text", train=train, valid=train, test=test)
    assert data.source["notes"] == [
        "unknown with 4 words: 0.0% of train, 0.0% of valid, 50.0% of test"
    ]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("a.csv", "x,", "line 4 has nothing for column 'label'"),
        ("a.csv", ",0", "line 4 has nothing for column 'text'"),
        ("a.csv", '"x,0', "line 4 has a quote"),
        ("a.csv", "x, y,0", "line 4 has 3 values, expected 2"),
        ("a.jsonl", '{"text": "x", "label": null}', "line 4 has nothing for column 'label'"),
        ("a.jsonl", '{"text": "x", "label": NaN}', "line 4: got NaN, which is not JSON"),
        ("a.jsonl", '{"text": "x", "text": "y"}', "line 4: got the key 'text' more than once"),
        ("a.jsonl", "[" * 100_000, "line 4 is not a record: it is nested too deeply"),
        ("a.jsonl", '{"text": ["x"], "label": 1}', "in column 'text', expected a text"),
        ("a.jsonl", '{"text": "x", "label": [1]}', r"got the label \[1\]"),
    ],
)
def test_a_record_without_text_or_label_is_refused(tmp_path, name, row, message):
    lines = ["text,label", *REVIEWS]
    if name == "a.jsonl":
        lines = [f'{{"text": "a film {k}", "label": {k % 2}}}' for k in range(40)]
    path = write(tmp_path, name, *lines[:3], row, *lines[3:])
    with pytest.raises(UserError, match=message):
        task_of("text", train=path)


def test_a_file_without_a_header_loses_no_row(tmp_path):
    path = write(tmp_path, "a.csv", *(f"a film {k},{('pos', 'neg')[k % 2]}" for k in range(20)))
    with pytest.raises(UserError, match="line 1 has 'pos', one of the labels, where the name"):
        task_of("text", train=path)


def test_labels_are_stripped(tmp_path):
    path = write(tmp_path, "a.csv", "text,label", *(f"a film,{x}" for x in ("neg ", "pos", " neg")))
    assert task_of("text", train=path).labels == ("neg", "pos")


def test_a_table_of_texts_is_predicted_without_its_header(tmp_path):
    path = write(tmp_path, "a.csv", "review,sentiment", *REVIEWS)
    task, data = load("text", train=path)
    words = data.preprocessing["inputs"]

    def read(*lines):
        rows = task.read_inputs(lines, data.preprocessing)
        return [" ".join(words[number] for number in row) for row in rows]

    assert read("a good film") == ["a good film"]
    assert read("review,sentiment", '"a good film, dull",0') == ["a good film , dull"]
    assert read("review", "a good film") == ["a good film"]
    assert read("id,review,sentiment", "3,a good film,0") == ["a good film"]
    # A text that looks a little like a header.
    assert read("good, review") == ["good , <unk>"]
    assert read('{"review": "good"}') == ["good"]
    with pytest.raises(UserError, match="line 2 column 'review' has no text"):
        read("review,sentiment", ",0")


def test_an_empty_label_of_json_lines_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = ['{"text": "a b c", "label": "x"}', '{"text": "d e f", "label": ""}']
    path.write_text("\n".join(lines * 3))
    with pytest.raises(UserError, match="line 2 has no label"):
        load("text", train=str(path))
