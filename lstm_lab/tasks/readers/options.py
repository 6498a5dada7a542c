"""Options that a user's files determine: when they must be read, and their hash.

In: the options that a user gave, as a mapping. Out: the paths of the files, and the hash that tells
later whether they have changed. `Task.complete` of each task with files uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_lab.tasks.readers.sources import DATA_SETS


def set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that have a value.

    None is the default of every option that may be None. So it says nothing about the files: what
    they determine is added, as for an option that is absent.

    Args:
      options: the options that were given.

    Example:
      set_options({"train": "a.conll", "scheme": None})  # {"train": "a.conll"}
    """
    return {name: value for name, value in options.items() if value is not None}


def incomplete(
    options: Mapping[str, Any], files: Sequence[str], determined: Sequence[str], data_dir: Path
) -> bool:
    """Returns whether the files must be read to complete the options.

    Args:
      options: the options that were given and have a value (`set_options`).
      files: the options that name files.
      determined: the options that the content of the files determines.
      data_dir: another folder in which the files may lie.
    """
    # Without its file, a task has no content; `build_spec` names the option that is missing.
    if not options.get(files[0]):
        return False
    if any(name not in options for name in determined):
        return True
    known = {source.path for data_set in DATA_SETS.values() for source in data_set.files}
    paths = [options[name] for name in files if options.get(name)]
    # Their hash alone is missing. The files of a data set were checked when they were downloaded,
    # and a config may be complete without its files being there.
    there = all(Path(path).exists() or (data_dir / path).exists() for path in paths)
    return "sha256" not in options and there and not known & set(paths)


def given_files(
    options: Mapping[str, Any], files: Sequence[str], find: Callable[[str], Path]
) -> dict[str, Path]:
    """Returns the paths of the files that were given, by option, in the order of `files`.

    Args:
      options: the options that were given.
      files: the options that name files.
      find: returns the path of a file on disk.

    Raises:
      UserError: if a file does not exist.
    """
    return {name: find(options[name]) for name in files if options.get(name)}
