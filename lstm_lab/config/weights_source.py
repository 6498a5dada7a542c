"""The weights that `model.init_from` names, and the word vectors of `model.vectors`: their hashes.

In: the path of a run or of a .safetensors file, or of a file of word vectors. Out: a hash of the
content, which is part of the run's id in place of the path. `training/initial_weights.py` reads the
weights, `training/word_vectors.py` the vectors.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from lstm_lab.config.user_code import file_hash
from lstm_lab.utils.errors import UserError, missing_file
from lstm_lab.utils.files import read_json

SUFFIX = ".safetensors"
# Files that may hold pickled objects, which run code when they are read.
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npz", ".npy")

TORCH_FILES = (".pt", ".pth", ".bin", ".ckpt")
TORCH_HINT = (
    ", in PyTorch by safetensors.torch.save_file(model.state_dict(), FILE), and convert them: "
    "lstm-lab import FILE --from=torch"
)


def source_hash(path: Path) -> str:
    """Returns a hash of the weights that `model.init_from` names, in hex.

    That of a file is the hash of its bytes. A run recorded the hash of its best weights in
    result.json, so that the same run trained again gives the same one.

    Args:
      path: the folder of a finished run, or a .safetensors file.

    Raises:
      UserError: for a path that does not exist, or that is neither of both.

    Example:
      source_hash(Path("runs/lm"))  # "3b1f..."
    """
    # By `os.path`, which a name that is too long does not disturb.
    if os.path.isdir(path):
        return _run_hash(path)
    if not os.path.isfile(path):
        raise missing_file("model.init_from", path)
    if path.suffix in PICKLED:
        hint = TORCH_HINT if path.suffix in TORCH_FILES else ""
        raise UserError(
            f"model.init_from: {path} may run code when it is read; save its weights as {SUFFIX}"
            f"{hint}"
        )
    if path.suffix != SUFFIX:
        raise UserError(
            f"model.init_from: {path}: expected the folder of a run, or a {SUFFIX} file"
        )
    info = path.stat()
    return _file_hash(path, info.st_size, info.st_mtime_ns)


def vectors_hash(path: Path) -> str:
    """Returns a hash of the file that `model.vectors` names, in hex.

    Args:
      path: the file.

    Raises:
      UserError: if there is no such file.

    Example:
      vectors_hash(Path("glove.6B.100d.txt"))  # "3b1f..."
    """
    if not os.path.isfile(path):
        raise missing_file("model.vectors", path)
    info = path.stat()
    return _file_hash(path, info.st_size, info.st_mtime_ns)


# A study builds thousands of specs, and would hash a file of gigabytes for each of them. Size and
# time make sure that a changed file is hashed again.
@lru_cache(maxsize=8)
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns
    return file_hash(path)


def _run_hash(folder: Path) -> str:
    if (folder / "study.json").is_file():
        raise UserError(f"model.init_from: {folder} is a study: choose one of {folder / 'runs'}")
    # In the folder of each checkpoint: the hash of each of its files.
    hashes = list((folder / "checkpoints" / "best").glob("[0-9]*/sha256.json"))
    if not hashes:
        raise UserError(f"model.init_from: {folder} holds no weights of a finished run")
    if not (folder / "result.json").is_file():
        raise UserError(
            f"model.init_from: {folder} has no result.json, expected a finished run: train it to "
            "its end"
        )
    # A run of an earlier version: that of the files, which differ if it is trained again.
    return recorded_hash(folder) or file_hash(max(hashes, key=_step))


def _step(hashes: Path) -> int:
    """Returns the step of a checkpoint; as text, 900 would come after 1000."""
    return int(hashes.parent.name)


def recorded_hash(folder: Path) -> str | None:
    """Returns the hash of the best weights that a run recorded; None in runs of earlier versions.

    Args:
      folder: the folder of a run.

    Example:
      recorded_hash(Path("runs/lm"))  # "3b1f..."
    """
    result = read_json(folder / "result.json", weights_sha256=str)
    return None if result is None else str(result["weights_sha256"])
