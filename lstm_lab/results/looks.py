"""The looks of a study whose seeds come in groups: which seeds are due, which variants are open.

In: the content of study.json. `study.sequential` declares the looks, and `looks` holds what each
look so far has decided. Everything here is a function of that file, so that a sweep, `status` and a
report agree on what is due. `studies/sequential.py` writes the looks.
"""

from __future__ import annotations

from collections.abc import Mapping

from lstm_lab.utils.types import JSON


def look_sizes(study: Mapping[str, JSON]) -> list[int]:
    """Returns the number of final seeds of a variant at each look; one look without `sequential`.

    Args:
      study: the declaration in study.json.

    Example:
      >>> look_sizes({"seeds": [0] * 12, "sequential": {"first": 4, "step": 3}})
      [4, 7, 10, 12]
    """
    most, sequential = len(study["seeds"]), study.get("sequential")
    if sequential is None:
        return [most]
    return [*range(sequential["first"], most, sequential["step"]), most]


def open_variants(plan: Mapping[str, JSON]) -> list[str]:
    """Returns the variants that the next look judges; empty if there is no further look."""
    looks, study = plan.get("looks", []), plan["study"]
    if len(looks) == len(look_sizes(study)):
        return []
    if not looks:
        return [name for name in study["variants"] if name != study["baseline"]]
    return [name for name, look in looks[-1]["variants"].items() if look["verdict"] == "undecided"]


def due_seeds(plan: Mapping[str, JSON]) -> dict[str, int]:
    """Returns the number of final seeds of each variant that are due, trained or not.

    Each variant gets seeds until a look decides it. The baseline gets those of every open variant.

    Args:
      plan: the content of study.json.
    """
    study = plan["study"]
    sizes, looks = look_sizes(study), plan.get("looks", [])
    due = dict.fromkeys(study["variants"], sizes[0])
    if study.get("sequential") is None:
        return due
    for size, look in zip(sizes, looks, strict=False):
        due |= dict.fromkeys(look["variants"], size)
    if opened := open_variants(plan):
        due |= dict.fromkeys(opened, sizes[len(looks)])
    return {**due, study["baseline"]: max(due.values())}
