"""Which runs are the same: ids of runs and groups, and the key by which runs share a program.

In: a `RunSpec`. Out: a short hash, a key, or a spec without the settings that a program does not
depend on. Read `studies/plan.py` for how keys become cohorts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace
from typing import Any

from lstm_lab.cells.catalogue import CATALOGUE
from lstm_lab.cells.masks import RATES
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import HPARAMS
from lstm_lab.config.variant import rates_of

# Part of every id. An id leaves out the settings that have their defaults, so a new setting does
# not change the ids of earlier runs. But a new value of a default, or a new meaning of a setting,
# would give different runs the same id: raise this number then.
SCHEMA = 2


# Initializers that came to draw other weights: `uniform` adds two biases, as PyTorch does.
_INIT_VERSIONS = {"uniform": 2}


def redefinitions(spec: RunSpec) -> dict[str, int]:
    """Returns what came to mean something else in a run, with the present version.

    It is part of a run's id, and tells results of both meanings apart. Unlike a new `SCHEMA`, it
    changes the ids of these runs only.

    Args:
      spec: the run.

    Returns:
      Versions above 1 by name: `cell` and `init` are settings of the model, `noise` is all random
      masks and noise of training, `freeze` is a setting of the optimizer.
    """
    cell, init = spec.model.cell, spec.model.init
    versions = {
        "cell": CATALOGUE[cell].version if cell in CATALOGUE else 1,
        "init": _INIT_VERSIONS.get(init or "", 1),
        "noise": _noise_version(spec),
        # The gradients of frozen parts came not to be computed: `clip` does not count them, and
        # without `clip` the others are rounded differently.
        "freeze": 2 if spec.optim.freeze else 1,
    }
    return {name: version for name, version in versions.items() if version > 1}


def _noise_version(spec: RunSpec) -> int:
    """Returns 2 for a run whose noise came to be drawn from other keys, else 1.

    On generated data the keys were those of the examples; in a translation, those of the decoder's
    layers were also those of the encoder's.
    """
    model, generated = spec.model, spec.task.sample is not None
    if not generated and spec.task.source_vocabulary is None:
        return 1
    layers = (model.dropout, model.dropout_in, *rates_of(model).values())
    outside = (model.dropout_out, model.dropout_words)
    return 2 if any(layers) or (generated and any(outside)) else 1


def canonical(spec: RunSpec, *, without: tuple[str, ...] = ()) -> str:
    """Returns the JSON that identifies a run: the settings that differ from their defaults.

    `compute` is left out, since it does not change a result. The hashes of the user's files replace
    their paths.

    Args:
      spec: the run.
      without: dotted fields to leave out, such as "seeds" or "optim.lr".

    Returns:
      JSON with sorted keys and no white space, so that equal runs give equal text.

    Example:
      canonical(spec, without=("seeds",))
      # '{"model":{"cell":"np"},"optim":{},"schema":2,"task":{"name":"jsb"},"train":{"epochs":9}}'
    """
    data: dict[str, Any] = {
        "schema": SCHEMA,
        # Resolved: `seed=1` and `init_seed=1, data_seed=1, noise_seed=1` are the same run.
        "seeds": spec.seeds,
        "task": {"name": spec.task.name, **_changed_settings(spec.task)},
        **{name: _changed_settings(getattr(spec, name)) for name in ("model", "optim", "train")},
    }
    if spec.task.sha256:
        # The content of the user's files counts, not where they lie.
        given = [name for name in spec.task.files if data["task"].pop(name, None)]
        # The hash says which files in which order, and not for which splits.
        if 1 < len(given) < len(spec.task.files):
            data["task"]["files"] = given
    if spec.cell_sha256:
        # The name too: one file may define several cells.
        data["model"]["cell"] = spec.model.cell.rpartition(":")[2]
        data["cell_sha256"] = spec.cell_sha256
    if changed := redefinitions(spec):
        data["redefined"] = changed
    if spec.task_sha256:
        data["task"]["name"] = spec.task.name.rpartition(":")[2]
        data["task_sha256"] = spec.task_sha256
    if spec.vectors_sha256:
        data["model"].pop("vectors")
        data["vectors_sha256"] = spec.vectors_sha256
    if spec.init_from_sha256:
        data["model"].pop("init_from")
        data["init_from_sha256"] = spec.init_from_sha256
    for path in without:
        section, _, name = path.rpartition(".")
        # A field that has its default value is not in `data`.
        (data[section] if section else data).pop(name, None)
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _changed_settings(section: Any) -> dict[str, Any]:
    """Returns the fields of a frozen dataclass that differ from their defaults."""
    # A field without a plain default is always kept: MISSING is equal to no value.
    values = {f.name: (getattr(section, f.name), f.default) for f in fields(section)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _short_hash(text: str) -> str:
    # 12 digits are 48 bits: two of 100,000 runs collide with a probability of 2e-5. Checkpoints
    # store ids in arrays of this size (training/lanes.py).
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(spec: RunSpec) -> str:
    """Returns the id of a run: a hash of its spec with its seeds.

    Args:
      spec: the run.

    Returns:
      12 hex digits; they name the run's folder inside a study.
    """
    return _short_hash(canonical(spec))


def group_id(spec: RunSpec) -> str:
    """Returns the id of a group: runs that differ only in their seeds have the same one.

    Args:
      spec: any run of the group.

    Returns:
      12 hex digits.
    """
    return _short_hash(canonical(spec, without=("seeds",)))


def program_key(spec: RunSpec) -> str:
    """Returns a key that is equal for runs that one compiled program can train.

    Args:
      spec: the run.

    Returns:
      Text to compare, not to show. `sweep.plan` groups runs by it.
    """
    # These are arrays of the training state, not constants of the program.
    numbers = tuple(f"optim.{name}" for name in HPARAMS) + tuple(f"model.{k}" for k in RATES)
    # Only the amount of noise is an array. Whether there is noise changes the program.
    if spec.model.input_noise is not None:
        spec = replace(spec, model=replace(spec.model, input_noise=0.0))
    # Unlike in an id: another backend gives the same result by another program.
    compute = json.dumps(asdict(spec.compute), sort_keys=True)
    # What was redefined follows from the other settings; with noise, also from its amount.
    return canonical(spec, without=("seeds", "redefined", *numbers)) + compute


def program_spec(spec: RunSpec) -> RunSpec:
    """Returns the spec with fixed seeds, rates and lengths of training.

    Compiled functions take these numbers as arrays or do not read them, so runs that differ only in
    them share the functions. Nor do they read where the first weights come from. The result is the
    key of the caches of compiled functions.

    Args:
      spec: the run.

    Returns:
      A valid spec; its seeds, rates and lengths mean nothing.
    """
    # One of both is required: epochs where the schedule counts them.
    steps, epochs = (None, 1) if spec.optim.counts_epochs else (1, None)
    return replace(
        spec,
        seed=0,
        init_seed=None,
        data_seed=None,
        noise_seed=None,
        vectors_sha256=None,
        init_from_sha256=None,
        # Not 0 for `lr`: the values must pass the checks of the sections.
        optim=replace(spec.optim, lr=1.0, momentum=0.0, weight_decay=0.0),
        model=replace(
            spec.model,
            vectors=None,
            init_from=None,
            init_parts=(),
            input_noise=None if spec.model.input_noise is None else 0.0,
            zoneout_c=None,
            zoneout_h=None,
            recurrent_dropout=None,
            input_dropout=None,
            weight_drop=None,
        ),
        train=replace(spec.train, steps=steps, epochs=epochs, eval_every=None),
    )
