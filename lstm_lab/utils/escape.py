"""Text of users in other formats: a terminal, Markdown, LaTeX, a figure.

In: any text, such as the label of a variant or the reason of a failure. Out: text that shows the
same characters and does nothing else. Pages escape their text by themselves (jinja2).
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TextIO

# What has a meaning in Markdown, in GitHub's tables and addresses, and in MyST's formulas and
# comments, and only where it has it: report.md is read as text, too. A "_" inside a word has none.
_MARKDOWN = re.compile(
    r"[\\`*\[\]<>|~#$@]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=[#A-Za-z])|:(?=//)|(?<=www)\."
    # At the start of a line: lists, rules and breaks, comments, targets.
    r"|^[-+](?=\s|$)|^-(?=[-\s]*$)|^\+(?=\+\+)|^%|^\((?=.*\)=)",
    re.I,
)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Controls, and marks that turn the direction of the text after them.
_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    r"""Returns a text with its control characters as escapes; line ends and tabs stay.

    A terminal would obey them: they move the cursor, change colors, and hide text.

    Args:
      text: the text.

    Example:
      visible("a\x1b[2Jb")  # "a\\x1b[2Jb"
    """
    # Most texts have none, and this test is fast.
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _harmless(character) else _escape(character) for character in text)


def _harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in _HIDDEN and character not in _TURNING


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def on_terminal(text: str, stream: TextIO) -> str:
    r"""Returns a text as `visible` if it is for a terminal; a file or another program gets it all.

    Args:
      text: the text.
      stream: where it is written.

    Example:
      on_terminal("a\x1b[2Jb", io.StringIO())  # the same text
    """
    return visible(text) if stream.isatty() else text


def json_line(value: object) -> str:
    r"""Returns a value as one line of JSON that controls no terminal; letters stay as they are.

    Args:
      value: what `json` can write.

    Example:
      json_line({"été": "\x9b"})  # '{"été": "\\u009b"}'
    """
    # JSON itself escapes the controls below 32 alone. The escapes here mean the same characters,
    # so another program reads the same value.
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _harmless(c) else f"\\u{ord(c):04x}" for c in text)


def markdown(text: str) -> str:
    r"""Returns a text for one line or one cell of Markdown, which shows the same characters.

    It makes no element: no HTML, emphasis, list, heading, formula or link. White space at its ends
    is removed, since four spaces would make it code.

    Args:
      text: the text.

    Example:
      markdown("<b>|")  # "\\<b\\>\\|"
    """
    line = " ".join(visible(text).splitlines()).strip()
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", line))


def latex(text: str) -> str:
    r"""Returns a text for LaTeX.

    Args:
      text: the text.

    Example:
      latex("50 % of a_b")  # "50 \\% of a\\_b"
    """
    line = " ".join(visible(text).splitlines())
    return "".join(_LATEX.get(character, character) for character in line)
