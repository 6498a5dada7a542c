"""What the fuzzers read: every reader of a file, with a small valid file as a start.

A reader may return a value or raise `UserError`; anything else is a bug. `test_fuzz.py` calls the
targets with files of hypothesis, and `fuzz_atheris.py` with files of libFuzzer.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
import scipy.io.wavfile

from lstm_lab.config.load import load_spec, read_config
from lstm_lab.results.lease import current_owner
from lstm_lab.results.run_files import read_head, read_result, read_rows, read_settings
from lstm_lab.results.study_file import read_plan, run_status
from lstm_lab.studies.archive import count_slots
from lstm_lab.studies.failures import FailureLog
from lstm_lab.tasks.datasets.mnist import read_idx
from lstm_lab.tasks.datasets.music import read_rolls
from lstm_lab.tasks.datasets.speech import read_recordings
from lstm_lab.tasks.readers import prepare
from lstm_lab.tasks.readers.sources import DATA_SETS
from lstm_lab.training.word_vectors import read_vectors
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.paths import ROOT


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
      read: reads a file.
      name: the name of the file, which decides how it is read.
      example: the content of a valid file.
      pack: makes the file from the fuzzer's bytes.
    """

    read: Callable[[Path], object]
    name: str
    example: bytes
    pack: Callable[[bytes], bytes] = lambda content: content

    def __call__(self, folder: Path, content: bytes) -> None:
        """Reads a file with this content; an error other than UserError is a bug."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.pack(content))
        assert "\n" not in refusal(lambda: self.read(path))


def refusal(call: Callable[[], object]) -> str:
    """Returns the message of the UserError that a call raises; empty if it raises none."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def tarred(name: str, content: bytes, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def reviews_zip(content: bytes) -> bytes:
    """An archive of reviews with the same text for each part and label."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part in ("train", "test"):
            for label in ("neg", "pos"):
                archive.writestr(f"aclImdb/{part}/{label}/0_3.txt", content)
    return file.getvalue()


def recording() -> bytes:
    file = io.BytesIO()
    scipy.io.wavfile.write(file, 8000, np.arange(20, dtype=np.int16))
    return file.getvalue()


def chorales() -> bytes:
    piece = np.empty((1, 1), object)
    piece[0, 0] = np.zeros((2, 88), np.uint8)
    file = io.BytesIO()
    scipy.io.savemat(file, {f"{split}data": piece for split in ("train", "valid", "test")})
    return file.getvalue()


def of_config(name: str) -> Callable[[Path], object]:
    """Returns the function that reads a user's file as `lstm-lab train NAME:FILE` does."""

    def read(*paths: Path) -> object:
        words = ",".join(map(str, paths))
        return load_spec(f"{ROOT / 'configs' / name}.py:{words}").task.load(Path("nowhere"))

    return read


def both_sides(path: Path) -> object:
    """A translation whose sides stand in one file, separated by the byte 0xff."""
    left, _, right = path.read_bytes().partition(b"\xff")
    sides = [path.with_suffix(ending) for ending in (".en", ".de")]
    for side, content in zip(sides, (left, right), strict=True):
        side.write_bytes(content)
    return of_config("translation")(*sides)


def parts_of_slots(path: Path) -> object:
    """A folder of seq.in, seq.out and label."""
    parts = [*path.read_bytes().split(b"\xff"), b"", b""][:3]
    for name, content in zip(("seq.in", "seq.out", "label"), parts, strict=True):
        (path.parent / name).write_bytes(content)
    path.unlink()
    return of_config("tags")(path.parent)


def of_a_run(path: Path) -> object:
    """All that is read of a run's folder, if one of its files has this content."""
    content = path.read_bytes()
    for name in ("run.json", "result.json", "metrics.jsonl"):
        (path.parent / name).write_bytes(content)
    folder = path.parent
    return (
        read_head(folder),
        read_settings(folder),
        read_result(folder),
        read_rows(folder),
        (run_status(folder)),
    )


def config_of_a_run(path: Path) -> object:
    read_config(path)
    return load_spec(path)


CONLL = b"# intent: flight\nto O\nnew B-city\nyork I-city\n\nfrom O\noslo B-city\n\n" * 12
SLOTS = b"\xff".join(line * 24 for line in (b"to oslo\n", b"O B-city\n", b"flight\n"))
REVIEWS = b'{"text": "a great film", "label": 1}\n{"text": "dull", "label": 0}\n' * 12
TEXTS = b"text,label\na great film,1\ndull,2\n" + b"so so,1\nfine,2\n" * 12
TABLE = b"job,age,risk\n" + b'a,20,0\n"b, c",2.5e1,1\n' * 12
STEPS = b"when,load,heat\n" + b"".join(b"%d,%d,%d\n" % (k, k % 7, k % 5) for k in range(200))
BEATS = b"1,2,3\n0,1,2.5e1\n" * 12
PAIRS = b"a dog\na man\n" * 24 + b"\xff" + b"ein hund\nein mann\n" * 24
RESULT = {
    "status": "completed",
    "steps": 1,
    "best": {"step": 1, "valid": {"mse": 1.0}},
    "test": {"mse": 1.0},
}
ROW = {"variant": "lstm", "stage": "final", "point": {}, "seed": 1}
HEAD = {"id": "x", "status": "running", "spec": {"task": {"name": "adding"}, "train": {"steps": 1}}}
PLAN = {
    "study": {
        **{"name": "s", "title": "s", "variants": {"lstm": {}}, "seeds": [1], "baseline": "lstm"},
        **{"metric": "mse", "direction": "min", "tuning": None, "top": 0.1, "claims": []},
    },
    "runs": {"a0": ROW},
    "cohorts": {},
    "chosen": {},
}


def as_json(data: object) -> bytes:
    return json.dumps(data).encode()


TARGETS = {
    "conll": Target(of_config("tags"), "words.conll", CONLL),
    "slots": Target(parts_of_slots, "slots/all", SLOTS),
    "json_lines": Target(of_config("imdb"), "reviews.jsonl", REVIEWS),
    "json_lines_gz": Target(of_config("imdb"), "r.jsonl.gz", REVIEWS, gzipped),
    "damaged_gz": Target(of_config("imdb"), "d.jsonl.gz", gzipped(REVIEWS)),
    "csv_texts": Target(of_config("imdb"), "reviews.csv", TEXTS),
    "table": Target(of_config("credit"), "loans.csv", TABLE),
    "columns": Target(of_config("series"), "load.csv", STEPS),
    "series": Target(of_config("heartbeats"), "beats.csv", BEATS),
    "text": Target(of_config("characters"), "poem.txt", "春眠不覺曉\r\nto be\n".encode() * 20),
    "words": Target(of_config("ptb"), "w.txt", b"to be\n" * 20),
    "parallel": Target(both_sides, "pairs", PAIRS),
    "vectors": Target(lambda path: read_vectors(path, 2), "v.txt", b"2 2\nthe 0.1 0.2\na 1 2\n"),
    "idx": Target(read_idx, "images.gz", b"\0\0\x08\x02\0\0\0\x01\0\0\0\x02ab", gzipped),
    "idx_gz": Target(read_idx, "labels.gz", gzipped(b"\0\0\x08\x01\0\0\0\x02ab")),
    "mat": Target(read_rolls, "JSB.mat", chorales()),
    "recordings": Target(
        read_recordings, "r.tar", recording(), lambda c: tarred("recordings/0_anna_4.wav", c)
    ),
    "recordings_tar": Target(
        read_recordings, "s.tar", tarred("recordings/0_anna_4.wav", recording(), "w:gz")
    ),
    "publisher_zip": Target(
        prepare.prepare_german_credit, "g.zip", zipped("german.data", b"A 1\n")
    ),
    "publisher_tar": Target(
        prepare.prepare_german_credit, "g.tar", tarred("german.data", b"A 1\n")
    ),
    "publisher_text": Target(
        prepare.prepare_german_credit, "t.zip", b"A 1\n", lambda c: zipped("german.data", c)
    ),
    "publisher_reviews": Target(prepare.prepare_imdb, "i.zip", b"a film", reviews_zip),
    "publisher_series": Target(
        prepare.prepare_ecg5000, "ECG5000_TRAIN.ts", b"@data\n1.0,2.0:1\n3.0,4.0:2\n"
    ),
    "publisher_gz": Target(
        DATA_SETS["jsb"].prepare, "j.zip", gzipped(b"x"), lambda c: zipped("JSB_Chorales.mat.gz", c)
    ),
    "archive": Target(count_slots, "a.jsonl.gz", as_json({**ROW, "result": RESULT}), gzipped),
    "damaged_archive": Target(
        count_slots, "b.jsonl.gz", gzipped(as_json({**ROW, "result": RESULT}))
    ),
    "json": Target(
        lambda path: (read_json(path, id=str), read_lines(path)), "x.json", b'{"id": "x"}'
    ),
    "run": Target(of_a_run, "run/content", as_json({**HEAD, **RESULT})),
    "plan": Target(lambda path: read_plan(path.parent), "study/study.json", as_json(PLAN)),
    "lease": Target(
        lambda path: current_owner(path.parent), "leases/lease.0", as_json({"host": "a", "pid": 1})
    ),
    "failures": Target(
        lambda path: FailureLog(path.parent).exhausted(),
        "cohort/failures.jsonl",
        as_json({"status": "failed", "reason": "a", "trace": "b"}),
    ),
    "config": Target(config_of_a_run, "run.json", as_json({"spec": HEAD["spec"]})),
}
