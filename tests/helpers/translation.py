"""The spec of a small encoder-decoder, with its files."""

from lstm_lab.config.parsing import build_spec
from tests.helpers.data import write_pairs

FILES = {
    f"{part}_{side}": f"multi30k/{file}.{language}.gz"
    for part, file in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr"))
    for side, language in (("source", "en"), ("target", "de"))
}
SIZES = {"source_vocabulary": 9, "vocabulary": 10}


def translation_spec(folder, **sections):
    base = {
        "task": {"name": "translation", **FILES, **SIZES},
        "model": {"cell": "lstm", "hidden": 6, "embedding": 5, "layers": 2, "bidirectional": True},
        "optim": {"name": "adam", "lr": 0.01},
        "train": {"batch_size": 8, "steps": 20, "eval_every": 10},
        "compute": {"checkpoint_seconds": 0.0},
    }
    if not (folder / "multi30k").exists():
        write_pairs(folder)
    return build_spec({k: {**v, **sections.get(k, {})} for k, v in base.items()})
