"""Many texts at once get the symbols, vocabulary and numbers that each gets alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.tasks.readers.coded import code_texts
from lstm_lab.tasks.readers.text import UNKNOWN, Vocabulary, encode, encode_rows, most_frequent
from lstm_lab.tasks.readers.words import words_of

TEXTS = st.lists(
    st.text(st.sampled_from("abé晓 '.,<>_\n￭") | st.characters(), max_size=12), min_size=1
)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["word", "character"]), st.integers(1, 5), st.booleans())
def test_symbols_are_those_of_each_text_alone(texts, unit, most, first):
    split = words_of if unit == "word" else list
    rows = [split(text)[:most] if first else split(text)[-most:] for text in texts]

    coded = code_texts(texts, unit).shortened(most, "first" if first else "last")

    assert list(coded.lengths) == [len(row) for row in rows]
    assert [coded.symbols[k] for k in coded.numbers] == [symbol for row in rows for symbol in row]


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["word", "character"]), st.integers(2, 6))
def test_vocabulary_and_numbers_are_those_of_lists_of_symbols(texts, unit, size):
    split = words_of if unit == "word" else list
    rows = [split(text)[-3:] or [UNKNOWN] for text in texts]
    coded = code_texts(iter(texts), unit).shortened(3, "last")

    vocabulary = coded.vocabulary(size)
    numbers, lengths = coded.padded(vocabulary)

    assert vocabulary == most_frequent([symbol for row in rows for symbol in row], size)
    expected, expected_lengths = encode_rows(rows, vocabulary)
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_array_equal(lengths, expected_lengths)
    assert numbers.dtype == lengths.dtype == np.int32


@pytest.mark.parametrize("unit", ["word", "character"])
def test_a_text_without_symbols_is_one_unknown_symbol(unit):
    numbers, lengths = code_texts(["", "a"], unit).padded(("<unk>", "a"))

    assert numbers.tolist() == [[0], [1]]
    assert lengths.tolist() == [1, 1]


def test_a_vocabulary_is_a_tuple_that_computes_its_hash_once():
    symbols = ("<unk>", "a", "b")
    vocabulary = Vocabulary(symbols)

    assert (vocabulary, hash(vocabulary)) == (symbols, hash(symbols))
    assert vocabulary._hash is vars(vocabulary)["_hash"]
    assert encode(["b", "c"], vocabulary).tolist() == [2, 0]
