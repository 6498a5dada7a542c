"""A text that is cut into words or subwords and put together again is the same text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_lab.tasks.readers.subwords import subword_tokenizer, subwords_of, train_subwords
from lstm_lab.tasks.readers.words import WORDS, _find_words, normalize, words_of
from lstm_lab.utils.errors import UserError

# Texts of every kind, and more of those in which words and marks touch.
DENSE = st.text("aZ9'.,?-()\"/ <>_éİ\u0301\u093f\u05b4\u200d\u200c小ア한ไ。、」\u00a0\u2581\uffed")


@pytest.fixture(scope="module")
def subwords():
    texts = ["kleine Hunde-Paare (schlafen) 3.5 km.", "小狗睡觉。", "हिन्दी में लिखा है।"]
    return subword_tokenizer(train_subwords(texts, 330, "task.vocabulary"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text() | DENSE)
@example("\u0301a")
@example("<unk> <s> </s>")
@example("ΟΔΟΣ a\u2028b")
def test_words_are_put_together_again(text):
    tokens = WORDS.split(text)
    assert WORDS.join(tokens) == normalize(text)
    assert not any(token.isspace() or not token for token in tokens)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | DENSE)
def test_subwords_are_put_together_again(subwords, text):
    assert subwords.join(subwords.split(text)) == normalize(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ein Hund läuft, schnell!", ["ein", "hund", "läuft", ",", "schnell", "!"]),
        ("(gern) 3.5", ["(￭", "gern", "￭)", "3", ".￭", "5"]),
        ("小狗睡觉。", ["小", "狗", "睡", "觉", "。"]),
        ("在2020年 abc中", ["在", "2020", "年", "▁abc", "中"]),
        ("हिन्दी में।", ["हिन्दी", "में", "।"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("bien ?", ["bien", "▁?"]),
    ],
)
def test_only_unusual_spaces_are_marked(text, words):
    assert WORDS.split(text) == words


def test_words_without_marks_keep_combining_marks():
    assert words_of("E\u0301te\u0301, हिन्दी") == ["e\u0301te\u0301", ",", "हिन्दी"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text() | DENSE)
@example("a" * 100 + " b 小" * 30)
def test_words_of_pieces_are_those_of_the_whole_text(text):
    assert words_of(text) == _find_words(normalize(text))


def test_contradicting_marks_of_a_prediction_are_joined():
    assert WORDS.join(["a", "b▁", "￭c", "<unk>", "."]) == "a bc <unk>."
    assert WORDS.join([]) == ""


def test_a_vocabulary_of_subwords_has_bytes_and_begins_with_the_special_symbols():
    model = train_subwords(["ein hund", "ein kleiner hund"] * 3, 280, "task.vocabulary")
    assert model == train_subwords(["ein hund", "ein kleiner hund"] * 3, 280, "task.vocabulary")
    assert subwords_of(model)[:4] == ("<unk>", "<s>", "</s>", "<0x00>")
    with pytest.raises(UserError, match="task.vocabulary: got 20, expected 269 or more"):
        train_subwords(["ein hund", "ein kleiner hund"], 20, "task.vocabulary")
