"""The publisher's files become what the tasks read: tiny originals in each publisher's format."""

import gzip
import io
import struct
import tarfile
import wave
import zipfile

import numpy as np
import pytest

from lstm_lab.config.load import load_spec
from lstm_lab.tasks.readers import download
from lstm_lab.tasks.readers.prepare import copied, prepare_ecg5000, prepare_imdb
from lstm_lab.tasks.readers.sources import DATA_SETS
from lstm_lab.utils.errors import UserError


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LAB_DATA", str(tmp_path / "data"))
    # The originals here are tiny, so their hashes are not those of the real files.
    for name, data_set in DATA_SETS.items():
        unpinned = tuple(type(s)(s.path, s.url) for s in data_set.files)
        monkeypatch.setitem(
            DATA_SETS, name, type(data_set)(**{**vars(data_set), "files": unpinned})
        )


def load(name, originals, tmp_path, config, overrides=None):
    """Prepares a data set and loads it as its config's task."""
    download.prepare(name, originals, tmp_path / "data")
    return load_spec(config, overrides).task.load(tmp_path / "data")


def test_imdb_archive_and_folder_give_the_same_bytes(tmp_path):
    folder = tmp_path / "aclImdb"
    for part in ("train", "test"):
        for label, text in (("neg", "dull<br /><br />film"), ("pos", "a fine film")):
            place = folder / part / label
            place.mkdir(parents=True)
            for number in range(6):
                (place / f"{number}_{3 if label == 'neg' else 8}.txt").write_text(text)
    (folder / "train" / "unsup").mkdir()
    (folder / "train" / "unsup" / "0_0.txt").write_text("no label")
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as tar:
        tar.add(folder, "aclImdb")
    files = prepare_imdb(folder)
    assert files == prepare_imdb(tmp_path / "aclImdb_v1.tar.gz")
    lines = gzip.decompress(files["imdb/train.jsonl.gz"]).decode().splitlines()
    assert len(lines) == 12
    assert lines[0] == '{"id": 0, "label": 0, "rating": 3, "text": "dull<br /><br />film"}'
    dataset = load("imdb", folder, tmp_path, "imdb")
    assert len(dataset.splits["test"].x) == 12


def test_mnist_may_be_packed_or_not(tmp_path):
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, count in (("train", 24), ("t10k", 6)):
        images = np.arange(count * 784, dtype=np.uint8).tobytes()
        head = struct.pack(">HBBiii", 0, 8, 3, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images)
        labels = struct.pack(">HBBi", 0, 8, 1, count) + bytes(k % 10 for k in range(count))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    dataset = load("mnist", folder, tmp_path, "mnist")
    assert dataset.splits["test"].x.shape == (6, 784, 1)


def test_fsdd_checkout_and_zip_give_the_same_bytes(tmp_path):
    folder = tmp_path / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    for digit in range(2):
        for take in range(12):
            file = io.BytesIO()
            with wave.open(file, "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(8000)
                sound.writeframes(np.full(800, 99 * digit + take, "<i2").tobytes())
            (folder / f"{digit}_george_{take}.wav").write_bytes(file.getvalue())
    with zipfile.ZipFile(tmp_path / "repository.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"free-spoken-digit-dataset-26eb9aa/recordings/{path.name}")
    prepare = DATA_SETS["fsdd"].prepare
    assert prepare(folder.parent) == prepare(tmp_path / "repository.zip")
    dataset = load("fsdd", folder.parent, tmp_path, "spoken_digits")
    assert len(dataset.splits["test"].x) == 10


def test_ptb_archive_of_mikolov(tmp_path):
    with tarfile.open(tmp_path / "simple-examples.tgz", "w:gz") as tar:
        for name in ("train", "valid", "test", "char.train"):
            content = f" {name} the cat sat \n".encode() * 60
            member = tarfile.TarInfo(f"./simple-examples/data/ptb.{name}.txt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    files = DATA_SETS["ptb"].prepare(tmp_path / "simple-examples.tgz")
    assert sorted(files) == ["ptb/ptb.test.txt", "ptb/ptb.train.txt", "ptb/ptb.valid.txt"]
    assert files["ptb/ptb.train.txt"].startswith(b" train the")


def test_ecg5000_forms_give_the_same_rows(tmp_path):
    rows = [(k % 5 + 1, np.round(np.sin(np.arange(140) * (k + 1)), 4)) for k in range(40)]
    forms = {
        "txt": "".join(f"   {label:.1f}  {'  '.join(map(str, x))}\n" for label, x in rows),
        "tsv": "".join(f"{label}\t" + "\t".join(map(str, x)) + "\n" for label, x in rows),
        "ts": "@problemName ECG5000\n# a comment\n@data\n"
        + "".join(",".join(map(str, x)) + f":{label}\n" for label, x in rows),
    }
    tables = []
    for form, text in forms.items():
        path = tmp_path / f"ECG5000_TRAIN.{form}"
        path.write_text(text)
        content = prepare_ecg5000(path)["ecg5000/ECG5000_TRAIN.txt"]
        tables.append(np.loadtxt(io.BytesIO(content)))
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])
    assert load("ecg5000", path, tmp_path, "heartbeats").splits["train"].x.shape[1:] == (140, 1)


def test_german_credit_becomes_csv(tmp_path):
    lines = ["A11 6 A34 A43 1169 1", "A12 48 A32 A43 5951 2"] * 20
    (tmp_path / "german.data").write_text("\n".join(lines) + "\n")
    files = DATA_SETS["german_credit"].prepare(tmp_path)
    assert files["german_credit/german.csv"].startswith(b"A11,6,A34,A43,1169,1\nA12,48")


@pytest.mark.parametrize("packed", [False, True])
def test_pairs_and_folders_are_copied(tmp_path, packed):
    folder = tmp_path / "raw"
    folder.mkdir()
    names = [f"{part}.{language}" for part in ("train", "val", "test_2016_flickr")
             for language in ("en", "de")]  # fmt: skip
    for name in names:
        content = f"a line of {name}\n".encode()
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    files = DATA_SETS["multi30k"].prepare(folder)
    assert sorted(files) == sorted(f"multi30k/{name}.gz" for name in names)
    assert gzip.decompress(files["multi30k/val.de.gz"]) == b"a line of val.de\n"
    atis = tmp_path / "atis"
    for part in ("train", "dev", "test"):
        (atis / part).mkdir(parents=True)
        for name in ("seq.in", "seq.out", "label"):
            (atis / part / name).write_text(f"{part} {name}\n")
    assert DATA_SETS["atis"].prepare(atis)["atis/dev/label"] == b"dev label\n"


@pytest.mark.parametrize("name", DATA_SETS)
def test_wrong_originals_are_named_and_nothing_is_written(name, tmp_path):
    (tmp_path / "wrong.txt").write_text("nothing")
    with pytest.raises(UserError, match=r"wrong\.txt has no .*expected the publisher's files"):
        download.prepare(name, tmp_path / "wrong.txt", tmp_path / "data")
    with pytest.raises(UserError, match=r"none\.zip does not exist"):
        download.prepare(name, tmp_path / "none.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_damaged_originals_are_named(tmp_path):
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as tar:
        for number in range(40):
            letters = np.frombuffer(b"abcdefghijklmnop", np.uint8)
            content = np.random.default_rng(number).choice(letters, 5000).tobytes()
            member = tarfile.TarInfo(f"aclImdb/train/neg/{number}_3.txt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (tmp_path / "half.tar.gz").write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:60_000])
    with pytest.raises(UserError, match=r"half\.tar\.gz is damaged \(EOFError"):
        prepare_imdb(tmp_path / "half.tar.gz")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"text" * 99)[:20])
    with pytest.raises(UserError, match=r"a\.txt\.gz is a damaged gzip file"):
        copied("set/a.txt")(tmp_path)


def test_an_archive_is_read_once_in_its_own_order(tmp_path):
    """Going back in a compressed archive would unpack it again from the start."""
    with tarfile.open(tmp_path / "shuffled.tar.gz", "w:gz") as tar:
        for part in ("train", "test"):
            for number in np.random.default_rng(0).permutation(3000):
                member = tarfile.TarInfo(
                    f"aclImdb/{part}/{('neg', 'pos')[number % 2]}/{number}_3.txt"
                )
                member.size = 2000
                tar.addfile(member, io.BytesIO(b"a film " * 285 + b"?????"))
    reads = []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            content = super().read(size)
            reads.append(len(content))
            return content

    file = Counting((tmp_path / "shuffled.tar.gz").read_bytes())
    original = tarfile.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile, "is_tarfile", lambda path: True)
        patch.setattr(tarfile, "open", lambda path: original(fileobj=file))
        files = prepare_imdb(tmp_path / "shuffled.tar.gz")
    lines = gzip.decompress(files["imdb/train.jsonl.gz"]).decode().splitlines()
    assert len(lines) == 3000
    assert sum(reads) < 3 * len(file.getvalue())


def test_a_copied_gzip_file_keeps_its_bytes(tmp_path):
    content = gzip.compress(b"text", mtime=7)
    (tmp_path / "a.txt.gz").write_bytes(content)
    assert copied("set/a.txt.gz")(tmp_path) == {"set/a.txt.gz": content}
    assert copied("set/a.txt")(tmp_path) == {"set/a.txt": b"text"}


def test_of_two_data_sets_in_one_repository_the_named_one_is_taken(tmp_path):
    for folder in ("atis", "snips"):
        for part in ("train", "dev", "test"):
            for name in ("seq.in", "seq.out", "label"):
                path = tmp_path / "JointBERT" / "data" / folder / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{folder} {part} {name}\n")
    assert DATA_SETS["atis"].prepare(tmp_path)["atis/train/label"] == b"atis train label\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "input.txt").write_text(folder)
    with pytest.raises(UserError, match="has one/input.txt and two/input.txt, which differ"):
        DATA_SETS["tinyshakespeare"].prepare(tmp_path)
