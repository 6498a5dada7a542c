"""Data files: the user's copy, or a download with a pinned hash."""

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
      url: its public source.
      sha256: the hash that the download must have.
    """

    path: str
    url: str
    sha256: str


def default_data_dir() -> Path:
    """Returns $LSTM_LAB_DATA, or the user's cache."""
    return Path(os.environ.get("LSTM_LAB_DATA") or pooch.os_cache("lstm_lab"))


def locate(path: str, data_dir: Path, sources: Iterable[Source] = ()) -> Path:
    """Returns where a file is: a known one in the data folder, downloaded where it is missing, or
    one of the user's own, as given or in the data folder.

    Raises:
      UserError: where there is none.
    """
    for source in sources:
        if source.path == path:
            return fetch(source, data_dir)
    for place in (Path(path), data_dir / path):
        if place.is_file():
            return place
    raise UserError(f"data: {path} does not exist, neither here nor in {data_dir}")


def fetch(source: Source, data_dir: Path) -> Path:
    """Returns the path of a data file, downloading it where it is missing.

    Raises:
      UserError: where it is neither there nor to be had; it says where to get it and put it.
    """
    path = data_dir / source.path
    if path.is_file():
        return path
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        pooch.retrieve(source.url, f"sha256:{source.sha256}", fname=path.name, path=path.parent)
    except (requests.RequestException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"data: {path} is missing and its download failed ({type(error).__name__}: {reason}); "
            f"get {source.url} and put it there, or set --data_dir or LSTM_LAB_DATA"
        ) from None
    finally:
        logger.setLevel(level)
    return path
