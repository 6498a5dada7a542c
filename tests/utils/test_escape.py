"""Text of users in other formats, compared with what renders those formats."""

import html
import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from lstm_lab.utils.escape import json_line, latex, markdown, on_terminal, visible
from lstm_lab.utils.tables import aligned, latex_table, markdown_table

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PUNCTUATION = list("<>|`*[]()!\\&;_~#$%+-=.:@{}^'\"a1 \t\n")
NASTY = [
    *("<script>alert(1)</script>", "a|b", "`code`", "*a* [b](c) ![d](e)", "\\<b>", "&lt; &#60;"),
    *("$x$", "$$x$$", "_x_", "__x__", "a_b_", "~~z~~", "# h", "h #", "- a", "+ a", "1. a", "12) a"),
    *("---", "- - -", "***", "===", "+++ a", "% a", "(a)=", "    code", "\tcode", "> a", "```"),
    *("<a:b>", "http://a.org", "www.a.org", "me@a.org", "[a]: b", "{a}`b`", "a\\", "|---|"),
    *("[x]{.b}", "-", "1.", ""),
]


def shown(rendered):
    """Returns the text that a browser shows for HTML."""
    return html.unescape(re.sub(r"</?(table|thead|tbody|tr|th|td|p|h1)[^>]*>|\n", "", rendered))


def all_examples(texts):
    """Declares all texts as examples of a property."""

    def declare(test):
        for text in texts:
            test = example(text=text)(test)
        return test

    return declare


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


def renderers():
    """Markdown as GitHub shows report.md, and as the documentation site does."""
    site = MdParserConfig(enable_extensions={"dollarmath", "attrs_inline"})
    github = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return {"github": github, "site": create_md_parser(site, RendererHTML)}


RENDERERS = renderers()


@pytest.mark.parametrize("renderer", RENDERERS)
@given(text=st.text(st.sampled_from(PUNCTUATION), min_size=1, max_size=12) | TEXT)
@all_examples(NASTY)
def test_markdown_shows_the_same_characters_and_makes_no_element(renderer, text):
    # Browsers show white space of any length as one space.
    expected = " ".join(visible(text).split())
    line, table = markdown(text), markdown_table([["name"], [text]])
    for source, prefix in ((line, ""), (f"# {line}", ""), (table, "name")):
        rendered = RENDERERS[renderer].render(source)
        elements = set(re.findall(r"<(\w+)", rendered))
        assert elements <= {"table", "thead", "tbody", "tr", "th", "td", "p", "h1"}
        assert " ".join(shown(rendered).split()) == prefix + expected


@pytest.mark.parametrize("address", ["http://a.org", "www.a.org", "WWW.a.org", "me@a.org"])
def test_an_address_is_no_link(address):
    # GitHub makes links of these characters, one after another.
    assert re.search(r"(?i)\w://|www\.|\w@", address)
    assert not re.search(r"(?i)\w://|www\.|\w@", markdown(f"see {address}"))


def test_markdown_is_readable_as_text():
    assert markdown("weight_decay 1e-3, A & B: -0.5 (95 %) 1.5 + 2") == (
        "weight_decay 1e-3, A & B: -0.5 (95 %) 1.5 + 2"
    )


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
