"""Docstrings as data: every setting of a run has the words of its source."""

import ast
import dataclasses
import re
import textwrap

import pytest

from lstm_lab.cells import CellSpec, GRUSpec, MGUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.config.parsing import build
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


SPECS = (RunSpec, CellSpec, GRUSpec, MGUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec)


@pytest.mark.parametrize("cls", [*SPECS, *SECTIONS.values(), *TASKS.values()])
def test_every_field_of_a_spec_is_documented(cls):
    documented = attribute_docs(cls)
    missing = [field.name for field in dataclasses.fields(cls) if not documented.get(field.name)]
    assert missing == []
    assert not [text for text in documented.values() if ":\n" in text or "  " in text]


@pytest.mark.parametrize("name", TASKS)
def test_the_example_of_a_task_builds_it_with_values_of_the_right_type(name):
    cls = TASKS[name]
    # To the next section, or to the end.
    example = re.search(r"Example:\n(.*?)(?=\n *\n|\Z)", cls.__doc__, re.S)[1]
    calls = [
        node
        for node in ast.walk(ast.parse(textwrap.dedent(example)))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == cls.__name__
    ]
    assert calls
    positions = [field.name for field in dataclasses.fields(cls) if not field.kw_only]
    for call in calls:
        values = dict(zip(positions, call.args, strict=False))
        values |= {keyword.arg: keyword.value for keyword in call.keywords}
        build(cls, {key: ast.literal_eval(value) for key, value in values.items()}, "task.")
