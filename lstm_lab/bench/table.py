"""Markdown tables of a bench: medians, ratios to lstm_lab with their range, geometric means.

In: the result of `run_suite` or `run_trials`. Out: text for docs/benchmarks.md. `compare.py` has
the ratios, `costs.py` and `cell_table.py` the tables of other suites.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_lab.bench.compare import geometric_mean, our_name, ratios, summary
from lstm_lab.utils.tables import markdown_table

MODEL_TITLES = {
    "forward": "Forward",
    "gradient": "Forward + backward",
    "language": "Language model, one optimizer step",
    "classifier": "Classifier, one optimizer step",
    "tagger": "Tagger, one optimizer step",
    "population": "Population, one SGD step each",
    "step": "One step of a stream",
    "trials": "Whole trials, one process per core; `torch` is one process with all threads",
}
WITH_MEMORY_SETTINGS = ", with the memory settings"


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


def error_lines(result: dict[str, Any]) -> list[str]:
    """Returns a list of what failed; nothing if nothing did.

    Args:
      result: the result of a suite.
    """
    errors = result.get("errors", [])
    if not errors:
        return []
    faults = [
        f"- {error['contender']}{WITH_MEMORY_SETTINGS * error['memory_settings']}, "
        f"{error['work']}, {error['label']}: {error['error']}"
        for error in errors
    ]
    return ["", "Failed:", "", *faults]


def markdown(result: dict[str, Any]) -> str:
    """Returns the tables of a suite, one per kind of work and memory setting.

    Args:
      result: what `run_suite` or `run_trials` returned.
    """
    lines = head(result)
    works = dict.fromkeys(row["case"]["work"] for row in result["rows"])
    for memory in sorted({row["memory_settings"] for row in result["rows"]}):
        of_memory = [row for row in result["rows"] if row["memory_settings"] == memory]
        suffix = WITH_MEMORY_SETTINGS * memory
        for work in works:
            rows = [row for row in of_memory if row["case"]["work"] == work]
            lines += ["", f"**{MODEL_TITLES[work]}{suffix}**, ms", "", _table(rows)]
            lines += _paragraph(summary(rows))
        sentences = _paragraph(summary(of_memory))
        if len(works) > 1 and sentences:
            lines += ["", f"**All kinds of work{suffix}**", *sentences]
    first = [row for row in result["rows"] if "first_ms" in row and not row["memory_settings"]]
    if first:
        lines += ["", "**The first call, with compilation**, s", "", _first_calls(first)]
    return "\n".join([*lines, *error_lines(result)])


def _paragraph(sentences: list[str]) -> list[str]:
    return ["", *sentences] if sentences else []


def _device(machine: dict[str, Any]) -> str:
    """Returns the name of the processor, or of the GPU and the processor of its host."""
    cpu = str(machine["cpu"])
    return cpu if machine["platform"] == "cpu" else f"{machine['device']} in {cpu}"


def _table(rows: list[dict[str, Any]]) -> str:
    """Returns one line per case: medians of all contenders, and (our time / theirs; range)."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    ours = our_name(rows)
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
    if ours is not None and len(names) > 1:
        means = [f"{geometric_mean(medians[n]):.2f}" if medians[n] else "" for n in names]
        lines.append(["geometric mean of our time / theirs", *means])
    return markdown_table(lines)


def _first_calls(rows: list[dict[str, Any]]) -> str:
    """Returns the seconds of the first call, one line per case."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        label = f"{row['case']['work']}: {row['label']}"
        found.setdefault(label, {})[row["contender"]] = row["first_ms"] / 1e3
    lines = [["work and shape", *names]]
    for label, seconds in found.items():
        cells = [f"{seconds[name]:.2g}" if name in seconds else "" for name in names]
        lines.append([label, *cells])
    return markdown_table(lines)
