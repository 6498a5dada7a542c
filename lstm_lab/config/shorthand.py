"""The words after a config's colon: `jsb:peephole,stacked`.

In: the words, as `get_config(words)` of a config file gets them. Out: a changed config. Words are
for the most common changes; `overrides.py` reaches every setting.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lstm_lab.cells import CATALOGUE
from lstm_lab.utils.errors import UserError, unknown

_MODEL = {"bidirectional": {"bidirectional": True}, "stacked": {"layers": 2}}


def apply(config: ConfigDict, words: str | None) -> ConfigDict:
    """Applies comma-separated words to a config: a cell, `bidirectional`, `stacked`.

    Args:
      config: the config to change, in place.
      words: the words, or None; a cell is a variant or FILE.py:NAME.

    Returns:
      The same config.

    Raises:
      UserError: for an unknown word, or two different cells.

    Example:
      apply(config, "gru,bidirectional")
    """
    cell = None
    for word in filter(None, (words or "").split(",")):
        if word in CATALOGUE or ".py:" in word:
            if cell not in (None, word):
                # The last word would win, and the other cell would never be trained.
                raise UserError(
                    f"config: got two variants, {cell} and {word}, expected one; `lstm-lab compare "
                    f"{word} --against={cell}` compares them"
                )
            cell = config.model.cell = word
        elif word in _MODEL:
            config.model.update(_MODEL[word])
        else:
            raise unknown("config: variant", word, [*CATALOGUE, *_MODEL, "FILE.py:NAME"])
    return config


def take_files(words: str | None) -> tuple[list[str], str]:
    """Splits the names of files from the other words.

    Args:
      words: comma-separated words, or None.

    Returns:
      The words with a dot or a slash, except FILE.py:NAME of a cell, and the other words.

    Example:
      take_files("train.csv,test.csv,gru")  # (["train.csv", "test.csv"], "gru")
    """
    # Neither character occurs in the name of a variant.
    listed = (words or "").split(",")
    files = [word for word in listed if ("." in word or "/" in word) and ".py:" not in word]
    return files, ",".join(word for word in listed if word not in files)


def split_options(files: list[str], names: tuple[str, ...]) -> dict[str, str]:
    """Returns the options for the files of the splits.

    One file is the training file, from which the other splits are held out. Two are train and test,
    as data sets with an official test set have them; three are train, valid and test.

    Args:
      files: one to three files, in this order.
      names: the options of train, valid and test, such as `Text.files`.

    Raises:
      UserError: for more files.

    Example:
      split_options(["a.csv", "b.csv"], ("train", "valid", "test"))
      # {"train": "a.csv", "test": "b.csv"}
    """
    train, valid, test = names
    orders = {1: (train,), 2: (train, test), 3: (train, valid, test)}
    if len(files) not in orders:
        raise UserError(
            f"config: got {len(files)} files ({', '.join(files)}), expected TRAIN, TRAIN,TEST or "
            "TRAIN,VALID,TEST"
        )
    return dict(zip(orders[len(files)], files, strict=True))
