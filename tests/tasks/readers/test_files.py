"""Files as text: archives, encodings and streams, valid and damaged."""

import contextlib
import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from lstm_lab.tasks.readers import files
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.files import read_text, stream_lines, unpack
from lstm_lab.tasks.readers.prepare import _members
from lstm_lab.utils.errors import UserError

TEXT = "text,label\nété,1\n\u6625,0\n"


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # ZipInfo has a fixed time: a test has the same name in every process.
            archive.writestr(zipfile.ZipInfo(name.replace("__", ".")), content)
    return buffer.getvalue()


FORMS = {
    "a.csv": TEXT.encode(),
    "mark.csv": TEXT.encode("utf-8-sig"),
    "windows.csv": TEXT.replace("\n", "\r\n").encode(),
    "little.csv": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "big.csv": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "a.csv.gz": gzip.compress(TEXT.encode("utf-8-sig"), mtime=0),
    "a.zip": zipped(a__csv=TEXT.encode()),
    "misnamed.csv": gzip.compress(TEXT.encode(), mtime=0),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_file_gives_the_same_text(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FORMS[name])
    assert read_text(path) == TEXT
    # Standard input and pipes have no name and are read once.
    assert list(stream_lines(io.BytesIO(FORMS[name]), "input")) == TEXT.splitlines()


PACKED = gzip.compress(TEXT.encode() * 50, mtime=0)
SPOILED = PACKED[:20] + bytes([PACKED[20] ^ 0xFF]) + PACKED[21:]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", SPOILED, r"is a damaged \.gz"),
        ("a.csv.gz", PACKED[:-9], r"is a damaged \.gz"),
        ("a.csv.gz", PACKED[:-8] + b"12345678", r"is a damaged \.gz: CRC"),
        ("a.csv.gz", TEXT.encode(), r"is a damaged \.gz: Not a gzipped file"),
        ("a.zip", zipped(a__csv=TEXT.encode())[:-30], r"is a damaged \.zip"),
        ("a.zip", TEXT.encode(), r"is a damaged \.zip: File is not a zip file"),
        ("a.zip", zipped(a__csv="x", b__csv="y"), r"has 2 files \(a.csv, b.csv\), expected one"),
        ("a.csv", "x\nété".encode("latin-1"), r"line 2 is not UTF-8 \(byte 0xe9\)"),
        ("a.csv", "x\ny\n".encode("utf-16-le"), "line 1 is not a text: it has a NUL character"),
        ("a.csv", b"x\ny\0z\n", "line 2 is not a text: it has a NUL character"),
        ("a.csv", b"\xff\xfea\0\n\0b", "line 2 is not UTF-16"),
        ("a.csv", b"\n \n", "is empty"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_text(path)
    assert "\n" not in str(error.value)


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@pytest.mark.parametrize("method", METHODS)
def test_a_zip_with_any_damage_is_refused_in_one_line(tmp_path, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("ä.csv"), TEXT.encode() * 9, method)
    whole = buffer.getvalue()
    messages, path = [], tmp_path / "original.zip"
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
            try:
                unpack(damaged, "data: a.zip", "a.zip")
            except UserError as error:
                messages.append(str(error))
            if flip == 0xFF:
                path.write_bytes(damaged)
                with contextlib.suppress(UserError):
                    list(_members(path))
    # Dates and attributes decide nothing.
    assert len(messages) > len(whole)
    assert not any("\n" in message for message in messages)


SHEET = zipped(**{"[Content_Types]__xml": "<Types/>", "xl/workbook__xml": "<workbook/>"})
OPEN_SHEET = zipped(mimetype="application/vnd.oasis.opendocument", content__xml="<x/>")
OLD_SHEET = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def parquet():
    buffer = io.BytesIO()
    pd.DataFrame({"text": ["a", "b"]}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SHEET, "is a spreadsheet, expected text; save the sheet as CSV in UTF-8"),
        (OPEN_SHEET, "is a spreadsheet"),
        (OLD_SHEET, "is a spreadsheet"),
        (parquet(), "is a Parquet file, expected text; save the table as CSV"),
        (gzip.compress(parquet(), mtime=0), "is a Parquet file"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_format_of_other_programs_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_text(tmp_path / name)
    with pytest.raises(UserError, match=f"input {message}"):
        list(stream_lines(io.BytesIO(content), "input"))
    assert list(stream_lines([b"PAR1,5\n"], "input")) == ["PAR1,5"]


@pytest.mark.parametrize("name", ["a.gz", "a.zip"])
def test_an_archive_that_unpacks_to_too_much_is_never_held(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "LARGEST", 3 << 20)
    content = bytes(16 << 20)
    packed = gzip.compress(content, mtime=0) if name == "a.gz" else zipped(a__csv=content)
    (tmp_path / name).write_bytes(packed)
    read = []
    chunk = files._CHUNK
    monkeypatch.setattr(files, "_CHUNK", type("Chunk", (int,), {})(chunk))
    opened = files._limited

    def counted(file, what):
        class Counting:
            def read(self, size):
                read.append(size)
                return file.read(size)

        return opened(Counting(), what)

    monkeypatch.setattr(files, "_limited", counted)
    with pytest.raises(UserError, match="unpacks to more than 3 MiB"):
        read_text(tmp_path / name)
    assert sum(read) <= 4 << 20


def test_a_line_of_a_stream_is_there_before_the_next_is_read():
    def arriving():
        yield b"one\r\n"
        raise AssertionError("the second line was read first")

    assert next(stream_lines(arriving(), "input")) == "one"
    with pytest.raises(UserError, match="input line 2 is not UTF-8"):
        list(stream_lines([b"one\n", b"\xe9t\xe9\n"], "input"))


def test_a_pipe_is_no_training_file(tmp_path):
    with pytest.raises(UserError, match="is a pipe, which can be read only once; save it"):
        locate("/dev/null", tmp_path)
    with pytest.raises(UserError, match="is a folder, expected a file"):
        locate(str(tmp_path), Path())
