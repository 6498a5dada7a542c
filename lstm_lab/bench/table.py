"""Markdown tables of a bench: medians, ratios to lstm_lab with their range, geometric means.

In: the result of `run_suite` or `run_trials`. Out: text for docs/benchmarks.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_lab.utils.tables import markdown_table

OURS = ("lstm_lab", "lstm_lab tf32")  # the first one present is compared with all others
WORKS = {
    "forward": "Forward",
    "gradient": "Forward + backward",
    "language": "Language model, one optimizer step",
    "classifier": "Classifier, one optimizer step",
    "population": "Population, one SGD step each",
    "trials": "Whole trials, one process per core; `torch` is one process with all threads",
}


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Returns the median, minimum and maximum over rounds of our time divided by theirs.

    Args:
      ours, theirs: times [rounds] of the same rounds.
    """
    # Round by round: both turns of a round meet about the same state of the machine, so its slow
    # phases cancel.
    by_round = np.array(ours) / np.array(theirs)
    return float(np.median(by_round)), float(by_round.min()), float(by_round.max())


def head(result: dict[str, Any]) -> list[str]:
    """Returns lines with the machine, the versions, and the contenders that were left out.

    Args:
      result: the result of a suite.
    """
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"{_device(machine)}, {machine['cores']} cores, Python {machine['python']}; {versions}; "
        f"{machine['date']}.",
    ]
    if result["left_out"]:
        lines.append(f"Not installed and left out: {', '.join(result['left_out'])}.")
    return lines


def markdown(result: dict[str, Any]) -> str:
    """Returns the tables of a suite, one per kind of work and memory setting.

    Args:
      result: what `run_suite` or `run_trials` returned.
    """
    lines = head(result)
    works = dict.fromkeys(row["case"]["work"] for row in result["rows"])
    for memory in sorted({row["memory_settings"] for row in result["rows"]}):
        for work in works:
            rows = [
                row
                for row in result["rows"]
                if row["case"]["work"] == work and row["memory_settings"] == memory
            ]
            suffix = ", with the memory settings" if memory else ""
            lines += ["", f"**{WORKS[work]}{suffix}**, ms", "", _table(rows)]
    return "\n".join(lines)


def _device(machine: dict[str, Any]) -> str:
    """Returns the name of the processor, or of the GPU and the processor of its host."""
    cpu = str(machine["cpu"])
    return cpu if machine["platform"] == "cpu" else f"{machine['device']} in {cpu}"


def _table(rows: list[dict[str, Any]]) -> str:
    """Returns one line per case: medians of all contenders, and (our time / theirs; range)."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    ours = next((name for name in OURS if name in names), None)
    lines = [["shape", *names]]
    medians: dict[str, list[float]] = {name: [] for name in names}
    for label in dict.fromkeys(row["label"] for row in rows):
        times = {row["contender"]: row["ms"] for row in rows if row["label"] == label}
        line = [label]
        for name in names:
            if name not in times:
                line.append("")
                continue
            cell = f"{np.median(times[name]):.3g}"
            if ours in times and name != ours:
                median, low, high = ratios(times[ours], times[name])
                medians[name].append(median)
                cell += f" ({median:.2f}; {low:.2f}-{high:.2f})"
            line.append(cell)
        lines.append(line)
    if ours is not None:
        # Geometric: half the time at one shape and double at another is 1 in both directions. An
        # arithmetic mean of ratios would favor whoever is in the denominator.
        means = [
            f"{np.exp(np.mean(np.log(medians[name]))):.2f}" if medians[name] else ""
            for name in names
        ]
        lines.append(["geometric mean of our time / theirs", *means])
    return markdown_table(lines)
