"""Which runs are the same: ids of runs, groups and programs, hashed from the canonical spec."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from lstm_lab.cells.masks import RATES
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import HPARAMS
from lstm_lab.config.serialization import to_json

SCHEMA = 1
# Settings that came later, and what they have to be for a run to be what it was without them. At
# these they are left out, so that results keep their ids.
LATER: dict[str, Any] = {
    "optim.decay_begin": 0,
    "optim.staircase": False,
    "model.dropout_in": 0.0,
    "model.dropout_out": 0.0,
    "model.dropout_words": 0.0,
    "model.locked": False,
    "model.tied": False,
    "model.vectors": None,
    "model.centre": False,
    "model.attention": "luong",
    "vectors_sha256": None,
    "optim.plateau": None,
    "optim.plateau_factor": 0.5,
    "optim.average": None,
    "optim.accumulate": 1,
    "optim.freeze": [],
    "train.bucket": False,
    "train.label_smoothing": 0.0,
    "train.activation_reg": 0.0,
    "train.temporal_reg": 0.0,
    "task.unroll_std": 0.0,
    "task.collection": "jsb",
    "task.test_length": None,
    "task.test_delay": None,
}


def canonical(spec: RunSpec, *, without: tuple[str, ...] = ()) -> str:
    """Returns the JSON that identifies a run: no paths, no way of computing.

    Args:
      spec: the run.
      without: dotted fields to leave out, such as "seeds" or "optim.lr".
    """
    data = to_json(spec)
    for name in ("seed", "init_seed", "data_seed", "noise_seed", "compute"):
        del data[name]
    data |= {"schema": SCHEMA, "seeds": spec.seeds}
    if data["task"].get("sha256"):
        # Files of the user's own: what they hold counts, not where they lie.
        for name in getattr(spec.task, "files", ()):
            del data["task"][name]
    if spec.cell_sha256:
        data["model"]["cell"] = spec.model.cell.rpartition(":")[2]
    if spec.vectors_sha256:
        del data["model"]["vectors"]
    for path, before in LATER.items():
        section, _, name = path.rpartition(".")
        place = data[section] if section else data
        if name in place and place[name] == before:
            del place[name]
    for path in without:
        section, _, name = path.rpartition(".")
        del (data[section] if section else data)[name]
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(spec: RunSpec) -> str:
    """Returns the id of a run: a hash of its spec with its seeds."""
    return _short_hash(canonical(spec))


def group_id(spec: RunSpec) -> str:
    """Returns the id that runs share which differ in their seeds alone."""
    return _short_hash(canonical(spec, without=("seeds",)))


def program_key(spec: RunSpec) -> str:
    """Returns what runs share that one compiled program can train."""
    numbers = tuple(f"optim.{name}" for name in HPARAMS) + tuple(f"model.{k}" for k in RATES)
    if spec.model.input_noise is not None:
        spec = replace(spec, model=replace(spec.model, input_noise=0.0))
    compute = json.dumps(asdict(spec.compute), sort_keys=True)
    return canonical(spec, without=("seeds", *numbers)) + compute


def program_spec(spec: RunSpec) -> RunSpec:
    """Returns a spec in which all is set alike that is not part of the program, so that runs that
    differ in nothing else share it: seeds and numbers are arrays of the state."""
    return replace(
        spec,
        seed=0,
        init_seed=None,
        data_seed=None,
        noise_seed=None,
        optim=replace(spec.optim, lr=1.0, momentum=0.0, weight_decay=0.0),
        model=replace(
            spec.model,
            input_noise=None if spec.model.input_noise is None else 0.0,
            zoneout_c=None,
            zoneout_h=None,
            recurrent_dropout=None,
            input_dropout=None,
            weight_drop=None,
        ),
        train=replace(spec.train, steps=1, epochs=None, eval_every=None),
    )
