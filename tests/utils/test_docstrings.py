"""Docstrings as data: every setting of a run has the words of its source."""

import dataclasses

import pytest

from lstm_lab.cells import CellSpec, GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.tasks import TASKS
from lstm_lab.utils.docstrings import attribute_docs, description, summary


class Base:
    """A base class.

    Attributes:
      a: of the base.
      z: of the base alone.
    """


class Example(Base):
    """An example: with attributes.

    More words: about it.

    Attributes:
      a: one line.
      b, c: two names,
        and a second line: with a colon.

      d: after an empty line.

    Raises:
      ValueError: for nothing.
    """


class Undocumented(Base):
    pass


def test_attributes_are_read_with_shared_entries_and_continuations():
    shared = "two names, and a second line: with a colon."
    expected = {"a": "one line.", "b": shared, "c": shared, "d": "after an empty line."}
    assert attribute_docs(Example) == {**expected, "z": "of the base alone."}
    assert attribute_docs(Undocumented) == attribute_docs(Base)
    assert attribute_docs(int) == {}


def test_summary_and_description_end_before_the_sections():
    assert summary(Example) == "An example: with attributes"
    assert description(Example) == "An example: with attributes.\n\nMore words: about it."
    assert summary(attribute_docs).startswith("Returns what the `Attributes:` section")


SPECS = (RunSpec, CellSpec, GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec)


@pytest.mark.parametrize("cls", [*SPECS, *SECTIONS.values(), *TASKS.values()])
def test_every_field_of_a_spec_is_documented(cls):
    documented = attribute_docs(cls)
    missing = [field.name for field in dataclasses.fields(cls) if not documented.get(field.name)]
    assert missing == []
    assert not [text for text in documented.values() if ":\n" in text or "  " in text]
