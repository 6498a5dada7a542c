"""Verbs of data sets: data list, data get, data prepare.

In: the name of a data set, and its original files. Out: files in the data folder. Read
`tasks/readers/sources.py` next, which has the addresses and the hashes.
"""

from __future__ import annotations

from pathlib import Path

import click

from lstm_lab.cli.options import data_dir, named_argument
from lstm_lab.utils.errors import DONE
from lstm_lab.utils.tables import aligned


@click.group()
def data() -> None:
    """Downloads or converts data sets, or lists them."""


@data.command(
    name="list",
    epilog="""\b
Example:
  lstm-lab data list""",
)
@data_dir
def list_data(data_dir: Path | None) -> int:
    """Lists the data sets: state, license, and how to get each."""
    from lstm_lab.tasks.readers.download import describe, use_data_dir

    folder = use_data_dir(data_dir)
    print(aligned(describe(folder)))
    print(f"\nfolder: {folder}")
    return DONE


@data.command(
    epilog="""\b
Examples:
  lstm-lab data get mnist
  LSTM_LAB_MIRROR=https://data.example.org lstm-lab data get jsb ptb"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@data_dir
def get(names: tuple[str, ...], data_dir: Path | None) -> int:
    """Downloads data sets and checks their hashes.

    With $LSTM_LAB_MIRROR, an address or a folder, a file comes from MIRROR/DATASET/FILE.
    """
    from lstm_lab.tasks.readers.download import find_data_set, use_data_dir
    from lstm_lab.tasks.readers.download import get as get_files

    folder = use_data_dir(data_dir)
    # All names are checked before the first download.
    for name in names:
        find_data_set(name)
    for name in names:
        for path in get_files(name, folder):
            print(path)
    return DONE


@data.command(
    epilog="""\b
Examples:
  lstm-lab data prepare imdb aclImdb_v1.tar.gz
  lstm-lab data prepare fsdd free-spoken-digit-dataset"""
)
@named_argument("name", "data", required=True)
@click.argument("path", type=click.Path(path_type=Path))
@data_dir
def prepare(name: str, path: Path, data_dir: Path | None) -> int:
    """Converts the publisher's files of a data set.

    PATH is the file, the archive or the folder that the publisher distributes.
    """
    from lstm_lab.tasks.readers.download import prepare as prepare_files
    from lstm_lab.tasks.readers.download import use_data_dir

    for written in prepare_files(name, path, use_data_dir(data_dir)):
        print(written)
    return DONE
