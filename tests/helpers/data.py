"""Small data sets in the file formats of the real ones."""

import gzip
import io
import json
import tarfile

import numpy as np
import scipy.io
import scipy.io.wavfile


def dense(split):
    """Returns all examples of a split as arrays, with their padding."""
    return split.take(np.arange(split.rows))


def write_chorales(data_dir, pieces=(7, 5, 12), splits=("train", "valid", "test"), seed=0):
    """Writes a small JSB data set in its real format: cells of piano rolls in a .mat file."""
    rng = np.random.default_rng(seed)
    content = {}
    for split in splits:
        cells = np.empty((1, len(pieces)), object)
        for k, length in enumerate(pieces):
            cells[0, k] = (rng.random((length, 88)) < 0.05).astype(np.uint8)
        content[f"{split}data"] = cells
    path = data_dir / "jsb" / "JSB_Chorales.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, content)
    return path


def write_texts(data_dir, seed=0):
    """Writes small texts to the paths of Penn Treebank and Tiny Shakespeare."""
    rng = np.random.default_rng(seed)
    for split, lines in (("train", 60), ("valid", 9), ("test", 8)):
        words = rng.choice(["a", "the", "<unk>", "cat", "N", "sat", "n.v."], (lines, 9))
        path = data_dir / "ptb" / f"ptb.{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f" {' '.join(line)} \n" for line in words))
    path = data_dir / "tinyshakespeare" / "input.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("ROMEO:\nWhat, shall this speech be spoke for our excuse?\n\n" * 30)


def write_sentences(data_dir, seed=0):
    """Writes small versions of IMDB (reviews) and ATIS (requests with slots)."""
    rng = np.random.default_rng(seed)
    folder = data_dir / "imdb"
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        rows = []
        for label in rng.integers(0, 2, 40):
            mood = ["dull", "great"][label]
            words = [*rng.choice(["the", "film", "was", "so"], rng.integers(1, 9)), mood, "!"]
            rows.append(json.dumps({"label": int(label), "text": " ".join(words)}))
        with gzip.open(folder / f"{split}.jsonl.gz", "wt") as file:
            file.write("\n".join(rows))
    for split in ("train", "dev", "test"):
        folder = data_dir / "atis" / split
        folder.mkdir(parents=True, exist_ok=True)
        cities = rng.choice(["boston", "denver", "new york"], (12, 2))
        words, tags = [], []
        for start, end in cities:
            slots = [
                " ".join(f"{'I' if k else 'B'}-{way}" for k, _ in enumerate(city.split()))
                for way, city in (("from", start), ("to", end))
            ]
            words.append(f"flights from {start} to {end}")
            tags.append(f"O O {slots[0]} O {slots[1]}")
        (folder / "seq.in").write_text("\n".join(words) + "\n")
        (folder / "seq.out").write_text("\n".join(tags) + "\n")
        labels = rng.choice(["flight", "fare"], 12)
        (folder / "label").write_text("\n".join(labels) + "\n")


def write_series(data_dir, seed=0):
    """Writes small series to forecast, heartbeats with labels, and a table of applicants."""
    rng = np.random.default_rng(seed)
    for path, columns in (
        ("ett/ETTh1.csv", ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")),
        ("series/airline-passengers.csv", ("Passengers",)),
        ("series/monthly-sunspots.csv", ("Sunspots",)),
        ("series/sp500-2000.csv", ("open", "close")),
    ):
        values = 10.0 + np.cumsum(rng.normal(0, 0.1, (400, len(columns))), 0)
        rows = [f"2000-{k}," + ",".join(f"{v:.3f}" for v in row) for k, row in enumerate(values)]
        (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / path).write_text("\n".join([",".join(("date", *columns)), *rows]) + "\n")
    labels = rng.permutation(np.arange(30) % 5 + 1)
    beats = [f"  {k:.7e}  " + "  ".join(f"{v:.7e}" for v in rng.normal(k, 1, 12)) for k in labels]
    (data_dir / "ecg5000").mkdir(exist_ok=True)
    (data_dir / "ecg5000" / "ECG5000_TRAIN.txt").write_text("\n".join(beats) + "\n")
    rows = []
    for good in rng.permutation(np.arange(60) % 2):
        words = [f"A{k}{rng.integers(1, 4)}" for k in range(13)]
        numbers = [str(value) for value in rng.integers(1, 60, 7) + 40 * good]
        rows.append(",".join([*words, *numbers, str(good + 1)]))
    (data_dir / "german_credit").mkdir(exist_ok=True)
    (data_dir / "german_credit" / "german.csv").write_text("\n".join(rows) + "\n")


def write_signals(data_dir, seed=0):
    """Writes a few handwritten and spoken digits."""
    rng = np.random.default_rng(seed)
    (data_dir / "mnist").mkdir(exist_ok=True)
    for part, count in (("train", 24), ("t10k", 6)):
        for name, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
            values = rng.integers(0, 10 if len(shape) == 1 else 256, shape).astype(np.uint8)
            path = data_dir / "mnist" / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(head + values.tobytes()))
    (data_dir / "fsdd").mkdir(exist_ok=True)
    with tarfile.open(data_dir / "fsdd" / "fsdd.tar.gz", "w:gz") as archive:
        for digit in range(3):
            for take in (0, 4, 5, 9, 10, 49):
                samples = int(rng.integers(1200, 3000))
                tone = np.sin(2 * np.pi * 200 * (digit + 1) * np.arange(samples) / 8000)
                file = io.BytesIO()
                scipy.io.wavfile.write(file, 8000, (8000 * tone).astype(np.int16))
                info = tarfile.TarInfo(f"recordings/{digit}_anna_{take}.wav")
                info.size = len(file.getvalue())
                archive.addfile(info, io.BytesIO(file.getvalue()))


def write_pairs(data_dir, seed=0):
    """Writes a few pairs of English and German sentences."""
    rng = np.random.default_rng(seed)
    (data_dir / "multi30k").mkdir(parents=True, exist_ok=True)
    words = {"a": "ein", "dog": "hund", "man": "mann", "runs": "rennt", "sits": "sitzt"}
    for part, count in (("train", 40), ("val", 6), ("test_2016_flickr", 6)):
        pairs = [rng.choice(list(words), rng.integers(1, 6)) for _ in range(count)]
        for language, lines in (
            ("en", [" ".join(pair) + " ." for pair in pairs]),
            ("de", [" ".join(words[word] for word in pair) + "." for pair in pairs]),
        ):
            path = data_dir / "multi30k" / f"{part}.{language}.gz"
            path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def write_samples(data_dir):
    """Writes a small example of every data set, in its real format."""
    write_pairs(data_dir)
    write_chorales(data_dir)
    write_texts(data_dir)
    write_sentences(data_dir)
    write_series(data_dir)
    write_signals(data_dir)
