"""Data files: the user's copy, or a download with a known hash.

In: a path under the data folder. Out: the path of a file that exists. Read text.py next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Source:
    """The origin of a data file.

    Attributes:
      path: its path under the data folder, DATASET/FILE.
      url: where to download it, best at a fixed commit, whose content cannot change.
      sha256: the hash that the download must have, in hex.
    """

    path: str
    url: str
    sha256: str


def default_data_dir() -> Path:
    """Returns the data folder: $LSTM_LAB_DATA, or the cache folder of the user."""
    # `or` rather than a default of `get`: an empty variable must not mean the current folder.
    return Path(os.environ.get("LSTM_LAB_DATA") or pooch.os_cache("lstm_lab"))


def use_data_dir(data_dir: Path | None) -> Path:
    """Returns the data folder, and makes it known to config files and worker processes.

    Args:
      data_dir: the folder that the user chose, or None for the default.
    """
    if data_dir is None:
        return default_data_dir()
    # Config files may read their data, and get no arguments: the environment names the folder.
    os.environ["LSTM_LAB_DATA"] = str(data_dir)
    return data_dir


def locate(path: str, data_dir: Path, sources: Iterable[Source] = ()) -> Path:
    """Returns the path of a data file.

    A known file lies in the data folder and is downloaded if it is missing. A user's file is looked
    for as given, then in the data folder.

    Args:
      path: the path in the task's options.
      data_dir: the data folder.
      sources: the known files of the task.

    Raises:
      UserError: if the file does not exist, or its download failed.
    """
    # Known files first: a file with the same path in the current folder must not replace the data
    # set that a config names.
    for source in sources:
        if source.path == path:
            return fetch(source, data_dir)
    for place in (Path(path), data_dir / path):
        if place.is_file():
            return place
    raise UserError(f"data: {path} does not exist, neither here nor in {data_dir}")


def fetch(source: Source, data_dir: Path) -> Path:
    """Returns the path of a data file; downloads it if it is missing.

    Args:
      source: the origin of the file.
      data_dir: the data folder.

    Raises:
      UserError: if the file is missing and its download failed; the message says where to get it
        and where to put it.
    """
    path = data_dir / source.path
    # An existing file is not hashed again. It was checked when it was downloaded, or the user put
    # it there on a machine without a network.
    if path.is_file():
        return path
    # pooch logs each download, which would break the progress bars.
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        # pooch downloads to a temporary file, checks the hash and then renames the file. A killed
        # download therefore leaves no half of a file under this name.
        pooch.retrieve(source.url, f"sha256:{source.sha256}", fname=path.name, path=path.parent)
    except (requests.RequestException, OSError, ValueError) as error:
        # pooch raises ValueError for a wrong hash. Its messages have several lines.
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"data: {path} is missing and its download failed ({type(error).__name__}: {reason}); "
            f"get {source.url} and put it there, or set --data_dir or LSTM_LAB_DATA"
        ) from None
    finally:
        # The logger belongs to the whole process, and a notebook may use pooch too.
        logger.setLevel(level)
    return path
