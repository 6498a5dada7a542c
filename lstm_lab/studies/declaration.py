"""A study's declaration as JSON: all that a report needs to know about it.

`folder.py` writes it into study.json. It also compares it with the declaration on disk, so that
results of two different studies never mix in one folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import to_json
from lstm_lab.studies.axes import Conditional
from lstm_lab.studies.expand import variants
from lstm_lab.studies.study import Search, Study, Trials
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON

# What only the report reads: a study may change it and keep its folder.
REPORT_ONLY = ("title", "references", "rope", "test_metric", "test_direction", "groups")


def declaration(study: Study) -> dict[str, JSON]:
    """Returns the declaration of a study as JSON-ready data."""
    tuning = study.tuning
    spec = build_spec(study.settings)
    names = variants(study)
    data = {
        "name": study.name,
        "title": study.title or study.name,
        "base": to_json(spec),
        "variants": names,
        "seeds": list(study.seeds),
        "baseline": study.baseline,
        "metric": spec.metric,
        "direction": spec.direction,
        "match": study.match,
        "top": study.top,
        "folds": study.folds,
        "rope": study.rope,
        "test_metric": study.test_metric,
        "test_direction": study.ranking_direction,
        "groups": {name: list(members) for name, members in study.groups.items()},
        **_looks(study),
        "tuning": tuning
        and {
            "points": {name: len(tuning.points(name)) for name in names},
            "seeds": tuning.seeds if tuning.seeds is None else list(tuning.seeds),
            "ranges": tuning.trials and _ranges(tuning.trials),
            "axes": [asdict(axis) for axis in tuning.axes],
            "overrides": dict(tuning.overrides or {}),
            **_search_settings(tuning.trials),
        },
        "claims": [{"kind": claim.kind, **asdict(claim)} for claim in study.claims],
        "references": [asdict(reference) for reference in study.references],
    }
    # A round trip turns tuples into lists, so that it equals what is read back from disk.
    return dict(json.loads(json.dumps(data)))


def _looks(study: Study) -> dict[str, JSON]:
    """Returns the declaration of the looks; empty without, as in studies of earlier versions.

    With the rope, which decides when a variant gets no more seeds.
    """
    if study.sequential is None:
        return {}
    return {"sequential": {**asdict(study.sequential), "rope": study.rope}}


def results_part(declared: dict[str, JSON]) -> dict[str, JSON]:
    """Returns the part of a declaration that determines results.

    Without `compute`, which changes only how results are computed, and without what only the report
    reads. A study may change these and keep its folder.
    """
    base = {k: v for k, v in declared.get("base", {}).items() if k != "compute"}
    rest = {k: v for k, v in declared.items() if k not in REPORT_ONLY}
    return {**rest, "base": base}


def with_defaults(declared: dict[str, JSON]) -> dict[str, JSON]:
    """Returns a declaration with all settings in its base.

    An earlier version may have written it, which did not know some settings. It trained as their
    defaults do, so a study continues after an update.

    Args:
      declared: a declaration from study.json.
    """
    base = declared.get("base", {})
    try:
        complete = to_json(build_spec(base))
    except UserError:
        return declared  # settings that no longer exist: another study
    # What was declared stays, such as the hash of a file that has changed since.
    filled = {
        key: {**value, **base[key]} if isinstance(value, dict) and key in base else value
        for key, value in complete.items()
    }
    plain = {key: value for key, value in base.items() if not isinstance(value, dict)}
    return {**declared, "base": json.loads(json.dumps({**filled, **plain}))}


def _search_settings(trials: Trials | Search | None) -> dict[str, JSON]:
    """Returns the settings of an adaptive search; empty for random trials."""
    if not isinstance(trials, Search):
        return {}
    settings = {name: getattr(trials, name) for name in ("seed", "generation", "grace")}
    return {"search": {"sampler": "optuna.TPESampler", **settings}}


def _ranges(trials: Trials | Search) -> dict[str, JSON]:
    """Returns the range of each setting, without conditions."""
    ranges = {k: v.range if isinstance(v, Conditional) else v for k, v in trials.ranges.items()}
    return {
        setting: {"kind": type(values).__name__, **asdict(values)}
        for setting, values in ranges.items()
    }
