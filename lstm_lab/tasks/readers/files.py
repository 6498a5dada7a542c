"""Files as text: archives, encodings, and inputs that can be read only once.

In: a path, or an open stream. Out: text whose lines end in `\\n`. It is the only place that unpacks
and decodes what a user gives, so that `train` and `predict` accept and refuse the same bytes. Read
rows.py next for tables, records.py for JSON lines.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from lstm_lab.utils.errors import UserError

# 1 GiB of text becomes several GiB of words or numbers. A file that unpacks to more is more often
# damaged, or made to fill the memory.
LARGEST = 1 << 30

_CHUNK = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
# Documents of Excel before 2007, and newer ones with a password.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What damaged archives raise. Which bytes are damaged decides it: zip raises a ValueError for a
# place before the start of the file, a UnicodeDecodeError for a name, a RuntimeError for a password
# or a method that it does not know, and LZMA a struct.error for its header.
DAMAGED = (
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, OverflowError),
)


def lines_of(text: str) -> Iterator[str]:
    """Yields the lines of a text with their ends.

    Not `splitlines`: it also splits at U+2028 and others, which may stand inside a value.
    """
    return io.StringIO(text)


def read_text(path: Path) -> str:
    """Reads a text file: UTF-8, or UTF-16 with a byte order mark, also inside .gz or .zip.

    Args:
      path: the file.

    Returns:
      The text. Line ends of Windows become those of Unix.

    Raises:
      UserError: if the file is missing, empty, damaged or not a text; the message names the line.

    Example:
      read_text(Path("reviews.csv.gz")).partition("\\n")[0]  # "text,label"
    """
    what = f"data: {path}"
    text = decode(unpack(read_bytes(path), what, path.name), what)
    if not text.strip():
        raise UserError(f"{what} is empty")
    return text


def read_bytes(path: Path) -> bytes:
    """Returns the content of a file as it is on the disk.

    Args:
      path: the file.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"data: {path} does not exist") from None
    except OSError as error:
        raise UserError(f"data: {path} cannot be read: {error.strerror}") from None


def is_parquet(content: bytes) -> bool:
    """Returns whether these are the bytes of a Parquet file."""
    # The format has its mark at both ends; a text may begin with the same four letters.
    return content[:4] == _PARQUET == content[-4:]


def unpack(content: bytes, what: str, name: str = "") -> bytes:
    """Returns the content of a .gz, or of a .zip with one file; other bytes as they are.

    Args:
      content: the bytes.
      what: names the input in error messages.
      name: the name of the file; a suffix .gz or .zip says that it must be such an archive.

    Raises:
      UserError: if the archive is damaged or a spreadsheet, or has more than `LARGEST` bytes or
        several files.
    """
    kind = name.rpartition(".")[2].lower()
    try:
        if kind == "gz" or content.startswith(_GZIP):
            kind = "gz"
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                return _limited(file, what)
        if kind == "zip" or content.startswith(_ZIP):
            kind = "zip"
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return _only_member(archive, what)
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what} is a damaged .{kind}: {reason}") from None
    return content


def _only_member(archive: zipfile.ZipFile, what: str) -> bytes:
    # macOS adds a folder with attributes of the files.
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    names = {m.filename for m in members}
    # Excel, and LibreOffice.
    if "[Content_Types].xml" in names or {"mimetype", "content.xml"} <= names:
        raise _spreadsheet(what)
    if len(members) != 1:
        shown = ", ".join(m.filename for m in members[:5]) or "none"
        raise UserError(f"{what} has {len(members)} files ({shown}), expected one; unzip it first")
    if members[0].flag_bits & 1:
        raise UserError(f"{what} is encrypted; unzip it first")
    with archive.open(members[0]) as file:
        return _limited(file, what)


def _spreadsheet(what: str) -> UserError:
    return UserError(f"{what} is a spreadsheet, expected text; save the sheet as CSV in UTF-8")


def _limited(file: IO[bytes] | gzip.GzipFile, what: str) -> bytes:
    """Reads a packed file in chunks: one that unpacks to terabytes never fills the memory."""
    content = bytearray()
    while chunk := file.read(_CHUNK):
        content += chunk
        if len(content) > LARGEST:
            raise UserError(f"{what} unpacks to more than {LARGEST >> 20} MiB; unpack it first")
    return bytes(content)


def decode(content: bytes, what: str, first_line: int = 1) -> str:
    """Returns bytes as text with line ends of Unix.

    Args:
      content: UTF-8, with or without a byte order mark, or UTF-16 with one.
      what: names the input in error messages.
      first_line: number of the first line.

    Raises:
      UserError: for a spreadsheet or a Parquet file, another encoding, or for NUL, which no text
        has.
    """
    if first_line == 1 and content.startswith(_OLE):
        raise _spreadsheet(what)
    # A stream gives its first line alone. 0x15 begins every structure of the format.
    if first_line == 1 and (is_parquet(content) or content.startswith(_PARQUET + b"\x15")):
        raise UserError(f"{what} is a Parquet file, expected text; save the table as CSV")
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        # -sig removes the byte order mark that Windows programs write. It would become a part of
        # the first column's name.
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = first_line + _newlines(content[: error.start], encoding)
        if encoding == "utf-16":
            raise UserError(f"{what} line {line} is not UTF-16: {error.reason}") from None
        raise UserError(
            f"{what} line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); "
            "save the whole file as UTF-8"
        ) from None
    place = text.find("\0")
    if place >= 0:
        line = first_line + text.count("\n", 0, place)
        raise UserError(
            f"{what} line {line} is not a text: it has a NUL character; save it as UTF-8, or as "
            "UTF-16 with a byte order mark"
        )
    return text.replace("\r\n", "\n")


def _newlines(content: bytes, encoding: str) -> int:
    if encoding == "utf-8-sig":
        return content.count(b"\n")
    return content[: len(content) // 2 * 2].decode("utf-16", "replace").count("\n")


def stream_lines(stream: Iterable[bytes | str], what: str) -> Iterator[str]:
    """Yields the lines of an open stream, each as soon as it has arrived, without its end.

    Args:
      stream: standard input, a pipe or a file. A text stream is taken as it is.
      what: names the input in error messages.

    Raises:
      UserError: as `unpack` and `decode` do.

    Example:
      for line in stream_lines(sys.stdin.buffer, "input"): ...
    """
    for number, line in enumerate(stream, 1):
        if isinstance(line, str):
            yield line.removesuffix("\n").removesuffix("\r")
            continue
        # Archives and UTF-16 have no lines before they are read as a whole.
        if number == 1 and line.startswith((_GZIP, _ZIP, *_UTF16)):
            whole = line + b"".join(part for part in stream if isinstance(part, bytes))
            for text in lines_of(decode(unpack(whole, what), what)):
                yield text.removesuffix("\n")
            return
        yield decode(line, what, number).removesuffix("\n")
