"""The words after a config's colon: `configs/jsb.py:peephole,stacked`."""

from __future__ import annotations

from ml_collections import ConfigDict

from lstm_lab.cells import CATALOGUE
from lstm_lab.utils.errors import unknown

_MODEL = {"bidirectional": {"bidirectional": True}, "stacked": {"layers": 2}}


def apply(config: ConfigDict, words: str | None) -> ConfigDict:
    """Sets what comma-separated words name: a variant, `bidirectional`, `stacked`.

    Args:
      config: the config to change.
      words: the words, or None for none.

    Returns:
      The config.

    Raises:
      UserError: for a word that names nothing.
    """
    for word in filter(None, (words or "").split(",")):
        if word in CATALOGUE:
            config.model.cell = word
        elif word in _MODEL:
            config.model.update(_MODEL[word])
        else:
            raise unknown("config: variant", word, [*CATALOGUE, *_MODEL])
    return config


def take_file(words: str | None) -> tuple[str | None, str | None]:
    """Splits the first file, which is what has a dot or a slash in it, from the other words."""
    listed = (words or "").split(",")
    file = next((word for word in listed if "." in word or "/" in word), None)
    if file is not None:
        listed.remove(file)
    return file, ",".join(listed)
