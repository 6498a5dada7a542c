"""Docstrings as data: the summary, the text and the documented attributes of a class.

The command line and the documentation site show the same words as the source: what a setting means
is written once, in the `Attributes:` section of its dataclass.
"""

from __future__ import annotations

import inspect
import re

_ENTRY = re.compile(r"(\w+(?:, \w+)*): (.*)")
_SECTION = re.compile(r"(Args|Attributes|Example|Raises|Returns|Source|Yields):")


def summary(obj: object) -> str:
    """Returns the first line of a docstring without its full stop; "" without a docstring."""
    return (inspect.getdoc(obj) or "").partition("\n")[0].rstrip(".")


def description(obj: object) -> str:
    """Returns a docstring up to its first section, such as `Attributes:`."""
    lines: list[str] = []
    for line in (inspect.getdoc(obj) or "").split("\n"):
        if _SECTION.match(line):
            break
        lines.append(line)
    return "\n".join(lines).strip()


def attribute_docs(cls: type) -> dict[str, str]:
    """Returns what the `Attributes:` section of a class says, by attribute.

    Args:
      cls: a class. Attributes that its docstring leaves out are looked up in its base classes.

    Returns:
      One line of text for each attribute. Attributes that share an entry, as in `a, b: text`, share
      the text.

    Example:
      attribute_docs(TrainSpec)["batch_size"]  # "sequences per step."
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs |= _own_attributes(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
    return docs


def _own_attributes(doc: str) -> dict[str, str]:
    """Parses the `Attributes:` section of a docstring without its common indentation."""
    _, found, section = doc.partition("\nAttributes:\n")
    if not found:
        return {}
    entries: list[tuple[list[str], list[str]]] = []
    for line in section.split("\n"):
        if line and not line.startswith(" "):  # the next section
            break
        # Entries are indented by two; what is deeper continues the entry above.
        match = _ENTRY.fullmatch(line[2:]) if line[:3].strip() else None
        if match:
            entries.append((match[1].split(", "), [match[2]]))
        elif line.strip() and entries:
            entries[-1][1].append(line.strip())
    return {name: " ".join(text) for names, text in entries for name in names}
