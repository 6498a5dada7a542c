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

from lstm_lab.tasks.readers.files import DAMAGED
from lstm_lab.utils.errors import UserError, missing_file

# What a data set's function returns: contents by path under the data folder.
Prepared = dict[str, bytes]
Prepare = Callable[[Path], Prepared]


def _members(
    original: Path, wanted: Callable[[str], object] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the wanted files of a folder, a tar or zip archive, or one file.

    An archive is read in its own order: to go back in a compressed file, it would have to be
    unpacked again from the start.
    """
    if not original.exists():
        raise missing_file("data", original)
    try:
        if original.is_dir():
            files = {path.relative_to(original).as_posix(): path for path in original.rglob("*")}
            for name in sorted(files):
                if wanted(name) and files[name].is_file():
                    yield name, files[name].read_bytes()
        elif zipfile.is_zipfile(original):
            with zipfile.ZipFile(original) as archive:
                for name in archive.namelist():
                    if wanted(name) and not name.endswith("/"):
                        yield name, archive.read(name)
        elif tarfile.is_tarfile(original):
            with tarfile.open(original) as tar:
                for member in tar:
                    file = tar.extractfile(member) if wanted(member.name) else None
                    if file is not None:
                        yield member.name, file.read()
        elif wanted(original.name):
            yield original.name, original.read_bytes()
    except DAMAGED as e:
        reason = str(e).partition("\n")[0]
        raise UserError(f"data: {original} is damaged ({type(e).__name__}: {reason})") from None


def _missing(original: Path, what: str) -> UserError:
    return UserError(f"data: {original} has no {what}; expected the publisher's files")


def copied(*paths: str) -> Prepare:
    """Returns a function that finds files by the ends of their paths, gzipped or not.

    Args:
      *paths: paths under the data folder, DATASET/FILE; a path that ends in .gz is written gzipped.
    """

    def prepare(original: Path) -> Prepared:
        wanted = {path: path.partition("/")[2].removesuffix(".gz") for path in paths}
        matches: dict[str, dict[str, bytes]] = {path: {} for path in paths}
        endings = "|".join(re.escape(ending) for ending in wanted.values())
        pattern = re.compile(rf"(?:.*/)?(?:{endings})(?:\.gz)?")
        for name, content in _members(original, pattern.fullmatch):
            plain = name.removesuffix(".gz")
            for path, ending in wanted.items():
                if plain == ending or plain.endswith(f"/{ending}"):
                    matches[path][name] = content
        return {path: _chosen(original, path, matches[path]) for path in paths}

    return prepare


def _chosen(original: Path, path: str, contents: dict[str, bytes]) -> bytes:
    """Returns the content of the file that is meant, gzipped if `path` ends in .gz."""
    folder, _, ending = path.partition("/")
    if not contents:
        raise _missing(original, ending.removesuffix(".gz"))
    # A repository may have several data sets with the same names of files, each in its own folder.
    own = {name: content for name, content in contents.items() if folder in name.split("/")}
    several = own or contents
    if len(set(several.values())) > 1:
        raise UserError(
            f"data: {original} has {' and '.join(several)}, which differ; "
            "expected the folder of one of them"
        )
    name, content = next(iter(several.items()))
    # The content tells whether it is packed; a name can be wrong.
    packed, gzipped = content[:2] == b"\x1f\x8b", path.endswith(".gz")
    if packed and not gzipped:
        return unpacked(content, f"{original}: {name}")
    return _packed(content) if gzipped and not packed else content


def unpacked(content: bytes, what: str) -> bytes:
    """Returns the content of a gzip file.

    Args:
      content: the bytes of the file.
      what: its name, for the error.

    Raises:
      UserError: if it is damaged.
    """
    try:
        return gzip.decompress(content)
    except DAMAGED as error:
        raise UserError(f"data: {what} is a damaged gzip file ({error})") from None


def _text(content: bytes, what: str) -> str:
    """Returns the text of a file; raises UserError if it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"data: {what} is damaged: byte {error.start + 1} is no text") from None


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
    for name, content in _members(original, pattern.fullmatch):
        if match := pattern.fullmatch(name):
            part, label, number, rating = match.groups()
            text = _text(content, f"{original}: {name}")
            reviews[part].append((int(label == "pos"), int(number), int(rating), text))
    files = {}
    for part, rows in reviews.items():
        if not rows:
            raise _missing(original, f"{part}/neg/*.txt")
        lines = [
            json.dumps(
                {"id": number, "label": label, "rating": rating, "text": text}, ensure_ascii=False
            )
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
        for name, content in _members(original, re.compile(r"(?:.*/)?\d_[a-z]+_\d+\.wav").fullmatch)
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
    pattern = re.compile(r"(?:.*/)?ECG5000_TRAIN\.(txt|tsv|ts)")
    for name, content in _members(original, pattern.fullmatch):
        lines = [line.strip() for line in _text(content, f"{original}: {name}").splitlines()]
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
            lines = [
                ",".join(line.split())
                for line in _text(content, f"{original}: {name}").splitlines()
            ]
            text = "\n".join(line for line in lines if line) + "\n"
            return {"german_credit/german.csv": text.encode()}
    raise _missing(original, "german.data")
