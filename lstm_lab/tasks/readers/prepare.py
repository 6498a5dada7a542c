"""From the files that a publisher distributes to the files that the tasks read.

In: the path of a file, an archive or a folder. Out: the contents of the files, by their paths under
the data folder. `sources.py` says which data set has which function; `download.py` writes the
files. Equal originals give equal bytes: an archive gets no time of its own.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from lstm_lab.utils.errors import UserError

# What a data set's function returns: contents by path under the data folder.
Prepared = dict[str, bytes]
Prepare = Callable[[Path], Prepared]


def _members(original: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the names and contents of all files of a folder, a tar or zip archive, or one file."""
    if original.is_dir():
        for path in sorted(original.rglob("*")):
            if path.is_file():
                yield path.relative_to(original).as_posix(), path.read_bytes()
    elif zipfile.is_zipfile(original):
        with zipfile.ZipFile(original) as archive:
            for name in sorted(archive.namelist()):
                if not name.endswith("/"):
                    yield name, archive.read(name)
    elif original.is_file() and tarfile.is_tarfile(original):
        with tarfile.open(original) as tar:
            for member in sorted(tar.getmembers(), key=lambda member: member.name):
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name, file.read()
    elif original.is_file():
        yield original.name, original.read_bytes()
    else:
        raise UserError(f"data: {original} does not exist")


def _missing(original: Path, what: str) -> UserError:
    return UserError(f"data: {original} has no {what}; expected the publisher's files")


def copied(*paths: str) -> Prepare:
    """Returns a function that finds files by the ends of their paths, gzipped or not.

    Args:
      *paths: paths under the data folder, DATASET/FILE; a path that ends in .gz is written gzipped.
    """

    def prepare(original: Path) -> Prepared:
        wanted = {path: path.partition("/")[2].removesuffix(".gz") for path in paths}
        files: Prepared = {}
        for name, content in _members(original):
            plain = name.removesuffix(".gz")
            for path, ending in wanted.items():
                if plain == ending or plain.endswith(f"/{ending}"):
                    # The content tells whether it is packed; a name can be wrong.
                    packed, gzipped = content[:2] == b"\x1f\x8b", path.endswith(".gz")
                    if packed and not gzipped:
                        content = gzip.decompress(content)
                    files[path] = _packed(content) if gzipped and not packed else content
        for path, ending in wanted.items():
            if path not in files:
                raise _missing(original, ending)
        return files

    return prepare


def _packed(content: bytes) -> bytes:
    """Compresses bytes without the time of day, so that equal contents give equal files."""
    return gzip.compress(content, mtime=0)


def prepare_imdb(original: Path) -> Prepared:
    """Converts aclImdb_v1.tar.gz, or its folder, to one JSON line per review.

    Args:
      original: the archive or the folder, with train/neg/0_3.txt and so on.

    Raises:
      UserError: if it has no reviews.
    """
    reviews: dict[str, list[tuple[int, int, int, str]]] = {"train": [], "test": []}
    # PART/neg/ID_RATING.txt; train/unsup has reviews without labels.
    pattern = re.compile(r"(?:.*/)?(train|test)/(neg|pos)/(\d+)_(\d+)\.txt")
    for name, content in _members(original):
        if match := pattern.fullmatch(name):
            part, label, number, rating = match.groups()
            # Lines of the reviews end with this tag of HTML.
            text = content.decode("utf-8").replace("<br />", " ")
            reviews[part].append((int(label == "pos"), int(number), int(rating), text))
    files = {}
    for part, rows in reviews.items():
        if not rows:
            raise _missing(original, f"{part}/neg/*.txt")
        lines = [
            json.dumps({"id": number, "label": label, "rating": rating, "text": text})
            for label, number, rating, text in sorted(rows)
        ]
        files[f"imdb/{part}.jsonl.gz"] = _packed(("\n".join(lines) + "\n").encode())
    return files


def prepare_fsdd(original: Path) -> Prepared:
    """Packs the recordings of a checkout of the Free Spoken Digit Dataset.

    Args:
      original: the folder or a zip archive of the repository, with recordings/0_george_0.wav.

    Raises:
      UserError: if it has no recordings.
    """
    recordings = {
        PurePosixPath(name).name: content
        for name, content in _members(original)
        if re.fullmatch(r"(?:.*/)?\d_[a-z]+_\d+\.wav", name)
    }
    if not recordings:
        raise _missing(original, "recordings/0_george_0.wav")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in sorted(recordings):
            member = tarfile.TarInfo(f"recordings/{name}")
            member.size = len(recordings[name])
            tar.addfile(member, io.BytesIO(recordings[name]))
    return {"fsdd/fsdd.tar.gz": _packed(file.getvalue())}


def prepare_ecg5000(original: Path) -> Prepared:
    """Converts the training part of ECG5000 of the UCR archive.

    Args:
      original: ECG5000_TRAIN.txt, .tsv or .ts, or a folder or archive with one of them.

    Raises:
      UserError: if it has none of them.
    """
    for name, content in _members(original):
        if not re.fullmatch(r"(?:.*/)?ECG5000_TRAIN\.(txt|tsv|ts)", name):
            continue
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
        if name.endswith(".ts"):
            # After the header, values separated by commas, a colon, and the label.
            rows = [line.rpartition(":") for line in lines if line and line[0] not in "@#"]
            lines = [" ".join([label, *values.split(",")]) for values, _, label in rows]
        text = "\n".join(" ".join(line.split()) for line in lines if line) + "\n"
        return {"ecg5000/ECG5000_TRAIN.txt": text.encode()}
    raise _missing(original, "ECG5000_TRAIN.txt, .tsv or .ts")


def prepare_german_credit(original: Path) -> Prepared:
    """Converts german.data of the Statlog data set to CSV.

    Args:
      original: german.data, or a folder or zip archive with it.

    Raises:
      UserError: if it is missing.
    """
    for name, content in _members(original):
        if PurePosixPath(name).name == "german.data":
            lines = [",".join(line.split()) for line in content.decode("utf-8").splitlines()]
            text = "\n".join(line for line in lines if line) + "\n"
            return {"german_credit/german.csv": text.encode()}
    raise _missing(original, "german.data")
