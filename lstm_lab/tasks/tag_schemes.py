"""Tagging schemes: how the tags of single words mark spans, such as B-city I-city.

In: names of tags, or sentences of tags. Out: the scheme that they follow, and a table of all pairs
of neighbors, from which span_f1.py finds spans. A tag is O, or a prefix with a type, as in B-city.
The type may be missing: B, I and O mark spans of a single type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

Scheme = Literal["none", "IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU", "BMES"]

OUTSIDE = "O"

# Bits of the table of `transitions`.
STARTS, CONTINUES, ENDS = 1, 2, 4


class Patterns(NamedTuple):
    """Which pairs of neighboring tags start, continue or end a span.

    A pattern has the prefix of a word and the prefix of the next one; * is any prefix. A third
    letter compares their types: = if both must be the same, ! if they must differ.

    Attributes:
      prefixes: the prefixes of the scheme, without O.
      start: pairs whose second word starts a span.
      inside: pairs whose second word continues the span of the first one.
      end: pairs between which a span is complete. A span that breaks off at another pair, such as
        B-city before O in IOBES, does not count.

    Example:
      PATTERNS["IOB2"].start  # ("*B",): every B starts a span, and nothing else does
    """

    prefixes: str
    start: tuple[str, ...]
    inside: tuple[str, ...]
    end: tuple[str, ...]


_IOBES = Patterns("BIES", ("*B", "*S"), ("BI=", "BE=", "II=", "IE="), ("S*", "E*"))


def _renamed(patterns: Patterns, old: str, new: str) -> Patterns:
    table = str.maketrans(old, new)
    prefixes, *rest = patterns
    start, inside, end = (tuple(pair.translate(table) for pair in part) for part in rest)
    return Patterns(prefixes.translate(table), start, inside, end)


# The strict modes of seqeval (https://github.com/chakki-works/seqeval, version 1.2.2), whose
# figures others publish. BMES, customary for Chinese, is IOBES with another letter.
PATTERNS: dict[str, Patterns] = {
    "IOB1": Patterns(
        "BI",
        ("OI", "II!", "BI", "IB=", "BB="),
        ("BI=", "II="),
        ("II!", "IO", "IB", "BO", "BI!", "BB="),
    ),
    "IOB2": Patterns("BI", ("*B",), ("BI=", "II="), ("IO", "II!", "IB", "BO", "BI!", "BB")),
    "IOE1": Patterns(
        "IE", ("OI", "II!", "EI", "EE="), ("II=", "IE="), ("II!", "IO", "IE!", "EI=", "EE=")
    ),
    "IOE2": Patterns("IE", ("OI", "OE", "EI", "EE", "II!", "IE!"), ("IE=", "II="), ("E*",)),
    "IOBES": _IOBES,
    "BILOU": _renamed(_IOBES, "ES", "LU"),
    "BMES": _renamed(_IOBES, "I", "M"),
}


def split_tag(tag: str) -> tuple[str, str]:
    """Returns the prefix and the type of a tag; the type of a prefix alone is _.

    Example:
      split_tag("B-city"), split_tag("I")  # ("B", "city"), ("I", "_")
    """
    return tag[:1], tag[1:].strip("-") or "_"


def is_valid(tag: str, scheme: Scheme) -> bool:
    """Returns whether a tag belongs to a scheme; every tag belongs to "none".

    Example:
      is_valid("E-city", "IOBES"), is_valid("E-city", "IOB2")  # True, False
    """
    if scheme == "none" or tag == OUTSIDE:
        return True
    return re.fullmatch(f"[{PATTERNS[scheme].prefixes}](-.*)?", tag, re.DOTALL) is not None


def transitions(labels: Sequence[str], scheme: Scheme) -> np.ndarray:
    """Returns what each pair of neighboring tags means for spans.

    Args:
      labels: the names of L tags, all of the scheme.
      scheme: the scheme; not "none".

    Returns:
      [L+1,L+1] for a tag and the next one, uint8: a sum of STARTS, CONTINUES and ENDS. The last
      row and column stand for O, also before the first and after the last word of a sentence.

    Example:
      table = transitions(("B-a", "I-a"), "IOB2")
      table[0]  # after B-a: [5, 2, 4]: B-a ends and starts a span, I-a continues, O ends
    """
    tags = [split_tag(label) for label in (*labels, OUTSIDE)]
    table = np.zeros((len(tags), len(tags)), np.uint8)
    prefixes = np.array([prefix for prefix, _ in tags])
    kinds = np.array([kind for _, kind in tags])
    same = kinds[:, None] == kinds[None]
    everywhere = np.ones_like(same)
    for bit, patterns in zip((STARTS, CONTINUES, ENDS), PATTERNS[scheme][1:], strict=True):
        for pattern in patterns:
            left, right = ((p == "*") | (prefixes == p) for p in pattern[:2])
            types = {"=": same, "!": ~same}.get(pattern[2:], everywhere)
            table[left[:, None] & right[None] & types] |= bit
    return table


def usual_scheme(tags: Iterable[str]) -> Scheme:
    """Returns the scheme of tags by their prefixes alone: IOB2 rather than IOB1, IOE2 than IOE1.

    Args:
      tags: the names of the tags. Tags without prefixes, such as parts of speech, are "none".

    Raises:
      ValueError: for a scheme that is not in `Scheme`.

    Example:
      usual_scheme(["O", "B-city", "E-city"])  # "IOBES"
    """
    names = set(tags)
    marking = sorted(names - {OUTSIDE})
    # Only if all tags have a prefix: a single letter may be a part of speech, such as M in Chinese.
    if not all(re.match(r"[BIELMSU](-|$)", tag) for tag in marking):
        _check_without_spans(marking, OUTSIDE in names)
        return "none"
    prefixes = {tag[0] for tag in marking}
    for name in _ORDER:
        # A file may not need all prefixes of its scheme.
        if prefixes <= set(PATTERNS[name].prefixes):
            return name
    raise ValueError(f"got tags with the prefixes {', '.join(sorted(prefixes))}, {_EXPECTED}")


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Returns the scheme of tags; neighboring tags tell the two IOB apart, and the two IOE.

    Args:
      sentences: the tags of each sentence.

    Raises:
      ValueError: for a scheme that is not in `Scheme`.

    Example:
      detect_scheme([["O", "I-city", "I-city"]])  # "IOB1": no B at the beginning of a span
      detect_scheme([["NOUN", "VERB"]])  # "none"
    """
    sentences = list(sentences)
    scheme = usual_scheme(tag for sentence in sentences for tag in sentence)
    if scheme == "IOB2" and _is_first_kind(sentences, "B"):
        return "IOB1"
    if scheme == "IOE2" and _is_first_kind([s[::-1] for s in sentences], "E"):
        return "IOE1"
    return scheme


_ORDER: tuple[Scheme, ...] = ("IOB2", "IOE2", "IOBES", "BILOU", "BMES")
_EXPECTED = (
    "expected IOB1, IOB2, IOE1, IOE2, IOBES, BILOU or BMES, as in B-city, I-city, O; "
    "task.scheme=none scores single words"
)


def _check_without_spans(tags: Sequence[str], has_outside: bool) -> None:
    """Raises ValueError for tags that mark spans in a way that no scheme describes."""
    # The accuracy would look like a good score for such tags, because most words are O.
    mixed = [tag for tag in tags if re.match("[BIELMSU]-.", tag)]
    suffixed = [tag for tag in tags if re.search("[-_][BIELMSU]$", tag)]
    if mixed or has_outside or len(suffixed) == len(tags):
        other = next((tag for tag in tags if tag not in mixed), tags[0])
        raise ValueError(f"got the tag {other!r} among {len(tags)} tags and O, {_EXPECTED}")


def _is_first_kind(sentences: Iterable[Sequence[str]], border: str) -> bool:
    """Returns whether B, or E in reversed sentences, only separates neighboring spans.

    IOB2 begins every span with B. IOB1 writes B only if a span follows another one of its type.
    """
    lacks_border = False
    for sentence in sentences:
        before = (OUTSIDE, "_")
        for tag in map(split_tag, sentence):
            follows = before[0] != OUTSIDE and before[1] == tag[1]
            if tag[0] == border and not follows:
                # Not a sentence of the first kind. One with both would be an error in the file,
                # whose invalid spans do not count.
                return False
            lacks_border |= tag[0] == "I" and not follows
            before = tag
    return lacks_border
