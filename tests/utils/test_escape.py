"""Text of users in other formats, compared with what renders those formats."""

import html
import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lstm_lab.utils.escape import json_line, latex, on_terminal, visible
from lstm_lab.utils.tables import aligned, latex_table, markdown_table

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NASTY = ["<script>alert(1)</script>", "a|b", "`code`", "*a* [b](c) ![d](e)", "\\<b>", "&lt;", "$x$"]


def shown(rendered):
    """Returns the text that a browser shows for HTML."""
    return html.unescape(re.sub(r"</?(table|thead|tbody|tr|th|td)[^>]*>|\n", "", rendered))


@given(TEXT)
@example("\x1b[2J")
@example("\u202egnp.exe")
def test_visible_text_controls_no_terminal(text):
    safe = visible(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in safe)
    assert "\u202e" not in safe
    assert visible(safe) == safe


@given(TEXT)
@example("\x9b2J")
@example("\u2028\u202e\ud800")
def test_json_is_one_line_that_controls_no_terminal(text):
    line = json_line({text: [text, 0.5, None]})
    assert json.loads(line) == {text: [text, 0.5, None]}
    assert visible(line) == line
    assert len(line.splitlines()) == 1


def test_letters_of_any_language_stay_in_json():
    assert json_line({"été": "春"}) == '{"été": "春"}'


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        """Returns True."""
        return True


def test_a_terminal_gets_no_controls_and_a_file_gets_all():
    assert on_terminal("a\x1b[2J\u202e\n", Terminal()) == "a\\x1b[2J\\u202e\n"
    assert on_terminal("a\x1b[2J\u202e\n", io.StringIO()) == "a\x1b[2J\u202e\n"


@pytest.mark.parametrize("text", NASTY)
def test_markdown_shows_the_text_and_makes_no_html(text):
    table = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(markdown_table([["name"], [text]]))
    )
    assert "<script" not in table
    assert "<img" not in table
    # Entities are the one thing that stays: they are harmless.
    assert shown(table) == "name" + html.unescape(text)


@given(st.text(alphabet="<>|`*[]()!\\ab&", min_size=1, max_size=20))
def test_markdown_never_has_elements_of_the_text(text):
    rendered = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(markdown_table([["name"], [text]]))
    )
    elements = set(re.findall(r"<(\w+)", rendered))
    assert elements <= {"table", "thead", "tbody", "tr", "th", "td"}


@given(TEXT)
def test_latex_has_no_special_character_without_a_backslash(text):
    rest = latex(text)
    for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        rest = rest.replace(command, "")
    assert not set("&%$#_{}~^\\") & set(re.sub(r"\\[&%$#_{}]", "", rest))


def test_a_line_end_does_not_break_a_table():
    assert markdown_table([["a", "b"], ["1\n2", "3"]]).count("\n") == 2
    assert latex_table([["a"], ["1\n2"]]).count("1 2") == 1
    assert aligned([["a\x1b[31m", "b"]]) == "a\\x1b[31m  b"
