"""A run's spec as JSON, and back. run.json and study.json contain it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lstm_lab.config.parsing import build_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.utils.errors import UserError


def to_json(spec: RunSpec) -> dict[str, Any]:
    """Returns a spec as JSON-ready data that `from_json` reads back.

    All settings are written, also those with their defaults: a record must not change its meaning
    when a later version changes a default.

    Args:
      spec: the run.
    """
    data = asdict(spec)
    # The name is an attribute of the task's class, so `asdict` does not see it.
    data["task"] = {"name": spec.task.name, **data["task"]}
    # Only where there is one: the records of earlier versions lack the field, and equal studies
    # have equal records.
    for name in ("task_sha256", "init_from_sha256"):
        if data[name] is None:
            del data[name]
    # The round trip turns tuples into lists: the result equals what a file gives back.
    return json.loads(json.dumps(data))


def from_json(data: Mapping[str, Any]) -> RunSpec:
    """Builds a spec from the JSON of a run.json.

    Args:
      data: what `to_json` returned.

    Raises:
      UserError: as `build_spec` does, and if the file of a user's cell or task, the weights of
        `model.init_from` or the file of `model.vectors` has changed since.
    """
    spec = build_spec(data)
    # Another cell or task under the same name would silently train something else.
    kept = "; its source is kept beside run.json"
    for setting, name, now, field, hint in (
        ("model.cell", spec.model.cell, spec.cell_sha256, "cell_sha256", kept),
        ("task.name", spec.task.name, spec.task_sha256, "task_sha256", kept),
        ("model.init_from", spec.model.init_from, spec.init_from_sha256, "init_from_sha256", ""),
        ("model.vectors", spec.model.vectors, spec.vectors_sha256, "vectors_sha256", ""),
    ):
        recorded = data.get(field)
        if recorded is not None and now != recorded:
            raise UserError(
                f"{setting}: {name} has changed since that run "
                f"(sha256 {now}, then {recorded}){hint}"
            )
    return spec
