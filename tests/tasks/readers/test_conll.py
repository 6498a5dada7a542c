"""CoNLL files: comments, columns, white space, intents, and damaged lines."""

import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks.readers.conll import DETECTED, Columns, read_conll
from lstm_lab.utils.errors import UserError

CONLL_U = """\
# newdoc
# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tv\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tp\t_\t1\tobj\t_\t_
3\tal\ta\tADP\ts\t_\t4\tcase\t_\t_
4\tmar\tmar\tNOUN\tn\t_\t1\tobl\t_\t_
4.1\tx\tx\tX\tx\t_\t_\t_\t_\t_

1\tmar\tmar\tNOUN\tn\t_\t0\troot\t_\t_

"""


def read(tmp_path, content, columns=DETECTED):
    path = tmp_path / "a.conll"
    path.write_text(content, encoding="utf-8")
    return [(s.words, s.tags) for s in read_conll(path, columns)]


def task_of(path, **options):
    """Builds the task of a config for this file."""
    task = {"name": "tags", "train": str(path), **options}
    return build_spec({"task": task, "train": {"steps": 1}}).task


def test_conll_u_is_read_without_comments_ranges_and_empty_nodes(tmp_path):
    words = [["vamos", "nos", "al", "mar"], ["mar"]]
    expected = [["VERB", "PRON", "ADP", "NOUN"], ["NOUN"]]
    assert read(tmp_path, CONLL_U) == list(zip(words, expected, strict=True))
    assert read(tmp_path, CONLL_U, Columns(3, 5))[0] == (
        ["ir", "nosotros", "a", "mar"],
        ["v", "p", "s", "n"],
    )
    task = task_of(tmp_path / "a.conll")
    assert (task.metric, task.labels) == ("accuracy", ("ADP", "NOUN", "PRON", "VERB"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# id = s0 lang = en\nin O\nOslo B-a\n", ["in", "Oslo"]),
        ("#begin document (x); part 000\nin O\n", ["in"]),
        ("# note\n\n# other\nin O\n", ["in"]),  # two columns, but no word has the tag `note`
        ("# O\nin O\n", ["#", "in"]),  # the word #
        ("in O\n# O\n", ["in", "#"]),
        ("#oslo O\nin O\n", ["#oslo", "in"]),
        ("#\tO\nin\tO\n", ["#", "in"]),
        ("#\thttp://x [2005]\n1\tin\tO\tO\n2\tOslo\tB-a\tO\n", ["in", "Oslo"]),
        ("in\u00a0der O\nNew\u3000York B-a\n", ["in\u00a0der", "New\u3000York"]),
        ("New York\tB-a\nin\tO\n", ["New York", "in"]),
        ("in\u00a0der\tO\n", ["in\u00a0der"]),
        ("in\tO\nOslo B-a\nthere  O\n", ["in", "Oslo", "there"]),
        ("-DOCSTART- -X- -X- O\n\nin IN O\n", ["in"]),
        ("3 O\n4 O\n", ["3", "4"]),  # numbers, but no count
        ("\u2028a O\nb O\r\n", ["\u2028a", "b"]),
    ],
)
def test_words_and_comments_are_told_apart(tmp_path, content, words):
    assert [word for sentence, _ in read(tmp_path, content) for word in sentence] == words


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("in O\nEU NNP I-a\nit O\n", Columns(), "line 2 has 3 columns, expected 2 as in most"),
        ("in IN\nEU NNP I-a\nit PRP O\n", Columns(), "line 1 has 2 columns, expected 3 as in most"),
        ("in O\nEU\n", Columns(), "line 2 has 'EU' and no tag"),
        ("in O\n# a comment inside\n", Columns(), "line 2 has 4 columns, expected 2"),
        ("in\tO\nEU\t\n", Columns(), "line 2 has an empty word or tag"),
        ("in O\n", Columns(word=3), "task.word_column: got 3, but .* has 2 columns"),
        ("in O\n", Columns(tag=9), "task.tag_column: got 9, but .* has 2 columns"),
        ("# a = b\n# c = d\n", Columns(), "has no words"),
        ("-DOCSTART- O\n", Columns(), "has no words"),
    ],
)
def test_a_damaged_file_is_rejected(tmp_path, content, columns, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content, columns)


def test_declared_columns_are_options_of_the_task(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("x in IN O\nx Oslo NNP B-a\n\n" * 20)
    task = task_of(path, word_column=2, tag_column=3)
    assert (task.word_column, task.tag_column, task.labels) == (2, 3, ("IN", "NNP"))
    assert set(task.load(tmp_path).preprocessing["inputs"]) == {"<unk>", "in", "oslo"}
    with pytest.raises(UserError, match=r"task.tag_column: got 0, expected 1 or more"):
        task_of(path, labels=("IN", "NNP"), tag_column=0)


def test_intents_are_read_from_comments(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("# id = 1\n# intent = fly\nto O\n\n# Intent: get fare\nfare O\n\n" * 10)
    task = task_of(path, predict="intent")
    assert task.labels == ("fly", "get fare")
    train = task.load(tmp_path).splits["train"]
    assert train.y.shape == (16,)
    assert set(train.y) == {0, 1}
    path.write_text("# intent = fly\nto O\n\nfare O\n")
    with pytest.raises(UserError, match="line 4 begins a sentence without an intent"):
        task_of(path, predict="intent")


def test_a_no_break_space_stays_inside_a_word_of_new_input(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("New\u00a0York B-a\nin O\n\n" * 10, encoding="utf-8")
    task = task_of(path)
    preprocessing = task.load(tmp_path).preprocessing
    x = task.read_line("in New\u00a0York\n", preprocessing)
    assert [preprocessing["inputs"][k] for k in x] == ["in", "new\u00a0york"]
