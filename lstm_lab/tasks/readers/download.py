"""Data files: the user's copy, a download with a known hash, or converted originals.

In: a path under the data folder, or the name of a data set. Out: the path of a file that exists.
`sources.py` has all addresses and hashes. Read text.py next.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

from lstm_lab.tasks.readers.files import DAMAGED
from lstm_lab.tasks.readers.prepare import unpacked
from lstm_lab.tasks.readers.sources import DATA_SETS, DataSet, Source
from lstm_lab.utils.errors import UserError, missing_file, unknown
from lstm_lab.utils.files import write_bytes
from lstm_lab.utils.progress import Meter

MIRROR = "LSTM_LAB_MIRROR"
OFFLINE = "LSTM_LAB_OFFLINE"


def default_data_dir() -> Path:
    """Returns the data folder: $LSTM_LAB_DATA, or the cache folder of the user."""
    # `or` rather than a default of `get`: an empty variable must not mean the current folder.
    return Path(os.environ.get("LSTM_LAB_DATA") or Path(user_cache_dir("lstm_lab"), "data"))


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


@contextmanager
def without_downloads() -> Iterator[None]:
    """Within it, a missing file is an error, as with $LSTM_LAB_OFFLINE.

    Example:
      with without_downloads():
          task.load(data_dir)
    """
    # The environment, since a config or a study may read its data when it is loaded.
    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before


def locate(path: str, data_dir: Path) -> Path:
    """Returns the path of a data file.

    A file of `DATA_SETS` lies in the data folder and is downloaded if it is missing. A user's file
    is looked for as given, then in the data folder.

    Args:
      path: the path in the task's options.
      data_dir: the data folder.

    Raises:
      UserError: if the file does not exist, or its download failed.
    """
    # Known files first: a file with the same path in the current folder must not replace the data
    # set that a config names.
    for name, data_set in DATA_SETS.items():
        for source in data_set.files:
            if source.path == path:
                return _provide(name, source, data_dir)
    for place in (Path(path), data_dir / path):
        if place.is_file():
            return place
        if place.exists():
            kind = "a folder" if place.is_dir() else "a pipe, which can be read only once; save it"
            raise UserError(f"data: {place} is {kind}, expected a file")
    raise missing_file("data", path, f", neither here nor in {data_dir}")


def get(name: str, data_dir: Path) -> list[Path]:
    """Downloads the files of a data set that are missing.

    Args:
      name: a name of `DATA_SETS`.
      data_dir: the data folder.

    Returns:
      The paths of its files.

    Raises:
      UserError: for an unknown name, or if a file cannot be downloaded.
    """
    return [_provide(name, source, data_dir) for source in find_data_set(name).files]


def prepare(name: str, originals: Path, data_dir: Path) -> list[Path]:
    """Converts the publisher's files of a data set, and writes them into the data folder.

    Args:
      name: a name of `DATA_SETS`.
      originals: the file, archive or folder that the data set's `originals` describes.
      data_dir: the data folder.

    Returns:
      The paths of the files.

    Raises:
      UserError: for an unknown name, missing originals, or contents with another hash.
    """
    data_set = find_data_set(name)
    files = data_set.prepare(originals)
    # All are checked before one is written: half a data set would look like a whole one.
    for source in data_set.files:
        content = files[source.path]
        # The same content may be packed in different ways, so the hash of a .gz file says nothing.
        of_content = source.unpacked or source.recordings or not source.path.endswith(".gz")
        if source.sha256 and of_content:
            found = _hash(content, source)
            if found != source.sha256:
                raise UserError(
                    f"data: {originals}: {source.path} has sha256 {found}, expected {source.sha256}"
                )
    for path, content in files.items():
        write_bytes(data_dir / path, content)
    return [data_dir / path for path in files]


def find_data_set(name: str) -> DataSet:
    """Returns a data set.

    Args:
      name: a name of `DATA_SETS`.

    Raises:
      UserError: for an unknown name, with the nearest one.
    """
    if name not in DATA_SETS:
        raise unknown("data", name, DATA_SETS)
    return DATA_SETS[name]


def describe(data_dir: Path) -> list[list[str]]:
    """Returns a table of all data sets, header first: state, terms, and how to get it.

    Args:
      data_dir: the data folder.
    """
    rows = [["data set", "what it is", "state", "license", "how to get it"]]
    for name, data_set in DATA_SETS.items():
        paths = [data_dir / source.path for source in data_set.files]
        there = [path for path in paths if path.is_file()]
        size = sum(path.stat().st_size for path in there) / 1e6
        state = f"{size:.1f} MB" if there else "missing"
        if there and len(there) < len(paths):
            state = f"{len(there)} of {len(paths)} files"
        by_hand = data_set.archive is None and data_set.files[0].url is None
        how = f"lstm-lab data {'prepare ' + name + ' PATH' if by_hand else 'get ' + name}"
        rows.append([name, data_set.title, state, data_set.license, how])
    return rows


def _provide(name: str, source: Source, data_dir: Path) -> Path:
    """Returns the path of a file of a data set; downloads or converts it if it is missing."""
    path, archive = data_dir / source.path, DATA_SETS[name].archive
    # An existing file is not hashed again. It was checked when it was downloaded, or the user put
    # it there on a machine without a network.
    if path.is_file():
        return path
    # A mirror has the files of a data folder. Of a file without a known hash it has the archive,
    # which has one.
    mirrored = _mirrored(source) and (source.sha256 or archive is None)
    if source.url is not None or mirrored:
        return _download(name, source, path, path)
    if archive is None:
        raise UserError(f"data: {path} is missing, and it cannot be downloaded; {_by_hand(name)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Each process has its own copy of the archive, so none deletes the one that another one reads.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        packed = Path(folder) / archive.path.rpartition("/")[2]
        prepare(name, _download(name, archive, packed, path), data_dir)
    return path


def _by_hand(name: str) -> str:
    """Returns how to get a data set without a download by this program."""
    data_set = DATA_SETS[name]
    return f"get {data_set.originals} from {data_set.page}, then: lstm-lab data prepare {name} PATH"


def _mirrored(source: Source) -> str | None:
    """Returns the address of a file on the user's mirror, or None without a mirror."""
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{source.path}" if mirror else None


def _download(name: str, source: Source, path: Path, missing: Path) -> Path:
    """Downloads a file to a temporary name, checks its hash, and gives it its final name.

    A killed download leaves no file under the final name, and several processes may download the
    same file: each has a temporary file of its own, and all of them have the same content.

    Args:
      name: the name of the data set.
      source: the file.
      path: the final name.
      missing: the data file that is needed, for the error message.
    """
    import requests

    address = _mirrored(source) or str(source.url)
    if os.environ.get(OFFLINE):
        raise UserError(
            f"data: {missing} is missing, and {OFFLINE} forbids downloads; put {address} there; "
            f"or {_by_hand(name)}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            # A mirror may be a folder.
            if "://" in address:
                _fetch(address, part)
            else:
                shutil.copyfile(address, part)
            found = _hash(part.read_bytes(), source)
            # A file that only a mirror has is the user's own, so it has no known hash.
            if source.sha256 not in (None, found):
                raise ValueError(f"got sha256 {found}, expected {source.sha256}")
            part.replace(path)
    except (requests.RequestException, *DAMAGED) as error:
        raise UserError(
            f"data: {missing} is missing and its download failed ({_reason(error)}); "
            f"get {address} and put it there, or set {MIRROR} or --data-dir; or {_by_hand(name)}"
        ) from None
    return path


def _reason(error: Exception) -> str:
    """Returns why a download failed, as something that the user can act on."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    # requests raises a ConnectionError, too, if an answer stops in the middle of a file.
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return "the server does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not valid"
    if isinstance(error, requests.ConnectionError):
        return "no connection: is there a network?"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _fetch(address: str, part: Path) -> None:
    """Downloads an address into a file, with a progress bar."""
    import requests

    # (connect, read): a dead server is reported soon, a slow one may take its time.
    with requests.get(address, stream=True, timeout=(15, 60)) as response:
        response.raise_for_status()
        megabytes = int(response.headers.get("content-length", 0)) / 1e6
        # A small file is there before a bar could be read.
        with part.open("wb") as file, ExitStack() as stack:
            meter = stack.enter_context(Meter(megabytes, "MB")) if megabytes > 1 else None
            for chunk in response.iter_content(1 << 20):
                file.write(chunk)
                if meter is not None:
                    meter.advance(len(chunk) / 1e6, f"downloading {part.name}")


def _hash(content: bytes, source: Source) -> str:
    """Returns the SHA-256 of a file's content, or of what is packed in it."""
    if source.recordings:
        lines = []
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".wav") else None
                if file is not None:
                    name = member.name.rpartition("/")[2]
                    lines.append((name, hashlib.sha256(file.read()).hexdigest()))
        content = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines)).encode()
    elif source.unpacked:
        content = unpacked(content, source.path)
    return hashlib.sha256(content).hexdigest()
