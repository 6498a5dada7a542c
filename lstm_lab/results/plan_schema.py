"""What study.json has to hold. Everything that is read from it is checked here, once.

In: the parsed file. Out: what is wrong with it, if anything. Ids become names of folders, so an id
may only be a plain name; `study_file.py` makes the paths.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lstm_lab.results.looks import look_sizes
from lstm_lab.utils.types import JSON

# Of study.json.
SCHEMA = 2
# Deeper values are damage: writing them again would exceed Python's stack.
MAX_DEPTH = 30
# This package makes ids of 12 hex digits. Other plain names are harmless: as names of folders, they
# cannot lead out of the study.
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name in messages, and whether it accepts a value.

    Example:
      Kind("text", lambda value: isinstance(value, str))
    """

    name: str
    accepts: Callable[[JSON], bool]


def _whole(value: JSON) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list_of(kind: Kind) -> Kind:
    return Kind(
        f"a list, each {kind.name}",
        lambda value: isinstance(value, list) and all(kind.accepts(item) for item in value),
    )


def _object_of(kind: Kind) -> Kind:
    return Kind(
        f"an object, each value {kind.name}",
        lambda value: isinstance(value, dict) and all(map(kind.accepts, value.values())),
    )


def _one_of(*values: str) -> Kind:
    return Kind(f"one of {', '.join(values)}", lambda value: value in list(values))


def _or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.name} or null", lambda value: value is None or kind.accepts(value))


TEXT = Kind("text", lambda value: isinstance(value, str))
WHOLE = Kind("a whole number", _whole)
POSITIVE = Kind("a whole number above 0", lambda value: _whole(value) and value > 0)
NUMBER = Kind("a number", lambda value: _whole(value) or isinstance(value, float))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
IDENTITY = Kind(
    "an id of letters and digits", lambda value: isinstance(value, str) and is_id(value)
)
SEEDS = _list_of(WHOLE)

STUDY = {
    "name": TEXT,
    "title": TEXT,
    "base": OBJECT,
    "variants": _object_of(OBJECT),
    "seeds": SEEDS,
    "baseline": _or_null(TEXT),
    "metric": TEXT,
    "direction": _one_of("min", "max"),
    "match": TEXT,
    "top": NUMBER,
    "folds": _or_null(WHOLE),
    "rope": NUMBER,
    "test_metric": _or_null(TEXT),
    "test_direction": _one_of("min", "max"),
    "groups": _object_of(_list_of(TEXT)),
    "tuning": _or_null(OBJECT),
    "claims": _list_of(OBJECT),
    "references": _list_of(OBJECT),
}
SEQUENTIAL = {"first": POSITIVE, "step": POSITIVE, "alpha": NUMBER, "rope": NUMBER}
LOOK = {"seeds": POSITIVE, "limit": NUMBER, "variants": _object_of(OBJECT)}
LOOK_AT_VARIANT = {
    "p": _or_null(NUMBER),
    "equal": _or_null(NUMBER),
    "verdict": _one_of("better", "worse", "equivalent", "no score", "undecided"),
}
# The report does not need them, and studies of earlier versions lack some.
STUDY_LATER = (
    *("base", "baseline", "match", "top", "folds", "rope", "claims", "references"),
    *("test_metric", "test_direction", "groups"),
)
TUNING = {
    "points": _object_of(WHOLE),
    "seeds": _or_null(SEEDS),
    "ranges": _or_null(_object_of(OBJECT)),
    "axes": _list_of(OBJECT),
}
REFERENCE = {"label": TEXT, "value": NUMBER, "source": TEXT, "variant": _or_null(TEXT)}
CLAIMS = {
    "better": {"better": TEXT, "worse": TEXT, "alpha": NUMBER},
    "equivalent": {"a": TEXT, "b": TEXT, "margin": NUMBER, "alpha": NUMBER},
    "best": {"published": NUMBER, "tolerance": NUMBER, "source": TEXT},
    "matters": {"setting": TEXT, "at_least": NUMBER, "at_most": NUMBER},
    "scores": {
        "variant": TEXT,
        "metric": TEXT,
        "at_least": _or_null(NUMBER),
        "at_most": _or_null(NUMBER),
        "source": TEXT,
    },
    "reproduces": {
        "variant": TEXT,
        "metric": TEXT,
        "published": NUMBER,
        "tolerance": NUMBER,
        "source": TEXT,
        "alpha": NUMBER,
    },
}
RANGES = {
    "Uniform": {"low": NUMBER, "high": NUMBER},
    "LogUniform": {"low": NUMBER, "high": NUMBER},
    "Choice": {"values": Kind("a list", lambda value: isinstance(value, list))},
}
PLAN = {
    "schema": Kind(f"at most {SCHEMA}", lambda value: _whole(value) and value <= SCHEMA),
    "study": OBJECT,
    "runs": _object_of(OBJECT),
    "cohorts": _object_of(OBJECT),
    "chosen": _object_of(OBJECT),
    "looks": _list_of(OBJECT),
}
LAYOUT = {
    "kind": _one_of("single", "members", "batch"),
    "devices": POSITIVE,
    "lanes": POSITIVE,
    "width": _or_null(POSITIVE),
    "hosts": POSITIVE,
}


def is_layout(layout: Mapping[str, JSON]) -> bool:
    """Returns whether an object is the layout of a cohort.

    Args:
      layout: the object.

    Example:
      is_layout({"kind": "single", "devices": 1, "lanes": 1})  # True
    """
    try:
        _check("", layout, LAYOUT, optional=("width", "hosts"))
    except _DamageError:
        return False
    return set(layout) <= set(LAYOUT)


def is_id(text: str) -> bool:
    """Returns whether a text may be the id of a run or a cohort, and so the name of its folder.

    Example:
      is_id("../../victim")  # False
    """
    return ID.fullmatch(text) is not None


def damage(plan: Mapping[str, JSON]) -> str | None:
    """Returns the first place where a plan has not the form that this version writes, or None.

    Args:
      plan: the content of study.json.

    Example:
      damage({"runs": {"../../victim": {}}})
      # "runs: got '../../victim', expected an id of letters and digits"
    """
    try:
        _check_depth(plan)
        _check("", plan, PLAN, optional=("schema", "looks"))
        _check_study(plan["study"])
        _check_looks(plan)
        _check_runs(plan)
        _check_cohorts(plan)
    except _DamageError as error:
        return str(error)
    return None


class _DamageError(Exception):
    """The first place of a file that is wrong."""


def _check(
    place: str,
    data: Mapping[str, JSON],
    kinds: Mapping[str, Kind],
    optional: Collection[str] = (),
) -> None:
    for key, kind in kinds.items():
        if key not in data:
            if key in optional:
                continue
            raise _DamageError(f"{place}{key} is missing")
        if not kind.accepts(data[key]):
            raise _DamageError(f"{place}{key}: got {reprlib.repr(data[key])}, expected {kind.name}")


def _check_depth(data: JSON) -> None:
    """Level by level, so that no depth exceeds the stack here."""
    level = [data]
    for _ in range(MAX_DEPTH):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [item for values in inner for item in values if isinstance(item, (dict, list))]
        if not level:
            return
    raise _DamageError(f"got more than {MAX_DEPTH} levels of nesting")


def _check_study(study: Mapping[str, JSON]) -> None:
    _check("study.", study, STUDY, optional=STUDY_LATER)
    variant = _one_of(*study["variants"])
    if study.get("baseline") is not None:
        _check("study.", study, {"baseline": variant})
    for group, members in study.get("groups", {}).items():
        names = {str(k): member for k, member in enumerate(members)}
        _check(f"study.groups.{group}.", names, dict.fromkeys(names, variant))
    for k, claim in enumerate(study.get("claims", [])):
        place = f"study.claims.{k}."
        _check(place, claim, {"kind": _one_of(*CLAIMS)})
        # The fields that name variants.
        names = dict.fromkeys({"better", "worse", "a", "b", "variant"} & set(claim), variant)
        _check(place, claim, CLAIMS[claim["kind"]] | names)
    for k, reference in enumerate(study.get("references", [])):
        _check(f"study.references.{k}.", reference, REFERENCE)
    if study["tuning"] is None:
        return
    tuning = study["tuning"]
    _check("study.tuning.", tuning, TUNING, optional=("axes", "ranges"))
    _check("study.tuning.points.", tuning["points"], dict.fromkeys(study["variants"], WHOLE))
    for setting, values in (tuning.get("ranges") or {}).items():
        place = f"study.tuning.ranges.{setting}."
        _check(place, values, {"kind": _one_of(*RANGES)})
        _check(place, values, RANGES[values["kind"]])


def _check_looks(plan: Mapping[str, JSON]) -> None:
    study = plan["study"]
    others = set(study["variants"]) - {study.get("baseline")}
    if study.get("sequential") is not None:
        _check("study.", study, {"sequential": OBJECT, "baseline": TEXT, "seeds": SEEDS})
        _check("study.sequential.", study["sequential"], SEQUENTIAL)
    sizes = look_sizes(study) if study.get("sequential") else []
    for k, look in enumerate(plan.get("looks", [])):
        _check(f"looks.{k}.", look, LOOK)
        if look["seeds"] not in sizes[k : k + 1] or set(look["variants"]) - others:
            raise _DamageError(f"looks.{k}: expected the seeds and variants of a declared look")
        for variant, judged in look["variants"].items():
            _check(f"looks.{k}.variants.{variant}.", judged, LOOK_AT_VARIANT)


def _check_runs(plan: Mapping[str, JSON]) -> None:
    variants = plan["study"]["variants"]
    kinds = {
        "variant": _one_of(*variants),
        "stage": _one_of("tuning", "final"),
        "point": OBJECT,
        "seed": WHOLE,
    }
    for run, row in plan["runs"].items():
        _check_id("runs", run)
        _check(f"runs.{run}.", row, kinds)
        if set(row) > set(kinds):
            raise _DamageError(f"runs.{run}: expected only {', '.join(kinds)}")
    for variant in plan["chosen"]:
        _check("chosen: ", {"variant": variant}, {"variant": _one_of(*variants)})


def _check_id(place: str, name: str) -> None:
    if not is_id(name):
        raise _DamageError(f"{place}: got {reprlib.repr(name)}, expected {IDENTITY.name}")


def _check_cohorts(plan: Mapping[str, JSON]) -> None:
    placed: set[str] = set()
    for cohort, row in plan["cohorts"].items():
        _check_id("cohorts", cohort)
        place = f"cohorts.{cohort}."
        _check(place, row, {"layout": OBJECT, "runs": _list_of(IDENTITY)})
        layout, runs = row["layout"], set(row["runs"])
        _check(f"{place}layout.", layout, LAYOUT, optional=("width", "hosts"))
        if set(layout) > set(LAYOUT):
            raise _DamageError(f"{place}layout: expected only {', '.join(LAYOUT)}")
        # A run in two cohorts would be trained twice at the same time.
        if len(runs) < len(row["runs"]) or runs & placed or runs - set(plan["runs"]):
            raise _DamageError(f"{place}runs: expected planned runs, each in one cohort")
        placed |= runs
