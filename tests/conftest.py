"""Strict surroundings: four CPU devices, no silent broadcasting of ranks; warnings are errors."""

import gc
import gzip
import json
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest
import scipy.io

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Frees a module's compiled programs: a process may map only so many pieces of memory."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def strict():
    """Implicit dtype promotion raises."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64():
    """Float64 is on."""
    with jax.enable_x64(True):
        yield


def write_chorales(data_dir, pieces=(7, 5, 12), splits=("train", "valid", "test"), seed=0):
    """Writes a small data set in the true format: cells of piano rolls in a .mat file."""
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
    """Writes small texts where the language models' data sets are."""
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
    """Writes small sets of reviews and of requests with slots."""
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


def write_samples(data_dir):
    """Writes a small example of every data set, in its true format."""
    write_chorales(data_dir)
    write_texts(data_dir)
    write_sentences(data_dir)


@pytest.fixture
def chorales(tmp_path):
    """A data folder with a small JSB data set."""
    write_chorales(tmp_path / "data")
    return tmp_path / "data"
