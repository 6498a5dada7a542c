"""A run's spec as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lstm_lab.config.parsing import build_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.utils.errors import UserError


def to_json(spec: RunSpec) -> dict[str, Any]:
    """Returns a spec as JSON-ready data that `from_json` reads back."""
    data = asdict(spec)
    data["task"] = {"name": spec.task.name, **data["task"]}
    return json.loads(json.dumps(data))


def from_json(data: Mapping[str, Any]) -> RunSpec:
    """Builds the spec of a run.json again.

    Raises:
      UserError: as `build_spec`, and where a cell's file is not the one that the run used.
    """
    spec = build_spec(data)
    recorded = data.get("cell_sha256")
    if recorded is not None and spec.cell_sha256 != recorded:
        raise UserError(
            f"model.cell: {spec.model.cell} has changed since that run "
            f"(sha256 {spec.cell_sha256}, then {recorded}); its source is kept beside run.json"
        )
    return spec
