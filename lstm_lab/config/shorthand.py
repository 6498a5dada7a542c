"""The words after a config's colon: `jsb:peephole,stacked`.

In: the words, as `get_config(words)` of a config file gets them. Out: a changed config. Words are
for the most common changes; `overrides.py` reaches every setting.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lstm_lab.cells import CATALOGUE
from lstm_lab.utils.errors import unknown

_MODEL = {"bidirectional": {"bidirectional": True}, "stacked": {"layers": 2}}


def apply(config: ConfigDict, words: str | None) -> ConfigDict:
    """Applies comma-separated words to a config: a variant, `bidirectional`, `stacked`.

    Args:
      config: the config to change, in place.
      words: the words, or None.

    Returns:
      The same config.

    Raises:
      UserError: for an unknown word.

    Example:
      apply(config, "gru,bidirectional")
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
    """Splits the name of a file from the other words.

    Args:
      words: comma-separated words, or None.

    Returns:
      The first word with a dot or a slash, or None, and the other words.

    Example:
      take_file("reviews.csv,gru")  # ("reviews.csv", "gru")
    """
    # Neither character occurs in the name of a variant.
    listed = (words or "").split(",")
    file = next((word for word in listed if "." in word or "/" in word), None)
    if file is not None:
        listed.remove(file)
    return file, ",".join(listed)
