"""The data of a run, as its card describes them.

In: run.json and preprocessing.json. Out: `RunData`: what the task is, how many examples it has,
and the origin and the terms of its data sets. The data themselves are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.tasks import TASKS
from lstm_lab.tasks.readers.sources import DATA_SETS, DataSet, Source
from lstm_lab.utils.docstrings import description
from lstm_lab.utils.files import read_json
from lstm_lab.utils.types import JSON

# Tasks that name their data set in their code, and not in an option.
DATA_SET_OF = {"mnist": "mnist", "spoken_digits": "fsdd"}


@dataclass(frozen=True)
class RunData:
    """What a run was trained and tested on.

    Attributes:
      task: the name of the task, without the path of a user's file.
      name: the name of the data: of the data set, of the user's file, or of the task.
      text: what the task is, in Markdown; empty for a task of the user's.
      data_sets: the known data sets that the run used, by name.
      hashes: the SHA-256 of the published files, by path, for the files whose hash is known.
      files: names of the user's own files, without their folders.
      sha256: the hash of the user's own files together, or None.
      examples: number of examples of each split; empty if the record has none.
      unit: what is counted: examples, or symbols of a text.
      generated: whether the training data are generated during training.
      source: what was read from the files, as preprocessing.json has it.

    Example:
      run_data(folder, read_settings(folder)).examples  # {"valid": 1000, "test": 1000}
    """

    task: str
    name: str
    text: str
    data_sets: dict[str, DataSet]
    hashes: dict[str, str]
    files: tuple[str, ...]
    sha256: str | None
    examples: dict[str, int]
    unit: str
    generated: bool
    source: dict[str, JSON]

    @property
    def title(self) -> str:
        """The names of the data for people."""
        titles = "; ".join(data_set.title for data_set in self.data_sets.values())
        return titles or self.name

    @property
    def hub_ids(self) -> list[str]:
        """Ids on the Hugging Face Hub of the data sets that have one there."""
        return [data_set.hub_id for data_set in self.data_sets.values() if data_set.hub_id]


def run_data(folder: Path, head: Mapping[str, JSON]) -> RunData:
    """Describes the data of a run.

    Args:
      folder: the folder of the run.
      head: the content of its run.json.

    Returns:
      The description.

    Example:
      run_data(Path("runs/imdb"), head).data_sets["imdb"].license
    """
    options = head["spec"]["task"]
    task = str(options["name"]).rpartition(":")[2]
    known = TASKS.get(options["name"])
    paths = [
        options[name] for name in (known.files if known else ()) if isinstance(options[name], str)
    ]
    sources = _known_files(options)
    # Without folders: a card is published, and nobody else has a use for the author's folders.
    files = tuple(Path(path).name for path in paths) if options.get("sha256") else ()
    source = (read_json(folder / "preprocessing.json") or {}).get("source") or {}
    examples = head.get("examples") or source.get("examples") or {}
    return RunData(
        task=task,
        name=", ".join(sources) or ", ".join(files) or task,
        text=_joined(description(known)) if known else "",
        data_sets={name: DATA_SETS[name] for name in sources},
        hashes={
            file.path: file.sha256 for part in sources.values() for file in part if file.sha256
        },
        files=files,
        sha256=options.get("sha256"),
        examples=examples,
        unit="symbols" if known is not None and known.is_stream else "examples",
        generated=bool(examples) and "train" not in examples,
        source=source,
    )


def _known_files(options: Mapping[str, JSON]) -> dict[str, list[Source]]:
    """Returns the files of known data sets that the options of a task name, by data set."""
    values = [v for name, v in options.items() if name != "name" and isinstance(v, str)]
    # The name of a collection of music is the name of its data set.
    named = {DATA_SET_OF.get(options["name"]), options.get("collection")}
    files = {
        name: [
            source
            for source in data_set.files
            # An option may name a folder.
            if name in named or any(f"{source.path}/".startswith(f"{v}/") for v in values)
        ]
        for name, data_set in DATA_SETS.items()
    }
    return {name: sources for name, sources in files.items() if sources}


def _joined(text: str) -> str:
    """Returns a text with each of its paragraphs in one line."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
