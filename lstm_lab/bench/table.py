"""A bench's rows as Markdown: medians, ratios to ours with their spread, and geometric means."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_lab.utils.tables import markdown_table

OURS = ("lstm_lab", "lstm_lab tf32")  # whose time is held against the others', the first there is
WORKS = {
    "forward": "Forward",
    "gradient": "Forward + backward",
    "language": "Language model, one optimiser step",
    "classifier": "Classifier, one optimiser step",
    "population": "Population, one SGD step each",
    "trials": "Whole trials, one process a core but for torch's one with all threads",
}


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Returns our time over theirs: the median over rounds, and the least and the greatest."""
    each = np.array(ours) / np.array(theirs)
    return float(np.median(each)), float(each.min()), float(each.max())


def head(result: dict[str, Any]) -> list[str]:
    """Returns lines that say what a suite ran on, and what was left out."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items())
    lines = [
        f"{_device(machine)}, {machine['cores']} cores, Python {machine['python']}; {versions}; "
        f"{machine['date']}.",
    ]
    if result["left_out"]:
        lines.append(f"Not installed and left out: {', '.join(result['left_out'])}.")
    return lines


def markdown(result: dict[str, Any]) -> str:
    """Returns the tables of a suite, one for each kind of work and memory setting."""
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
    """Returns what computed: a GPU beside its host's processor, or the processor."""
    cpu = str(machine["cpu"])
    return cpu if machine["platform"] == "cpu" else f"{machine['device']} in {cpu}"


def _table(rows: list[dict[str, Any]]) -> str:
    """One line a case: the median of each contender, and (our time over theirs)."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    ours = next((name for name in OURS if name in names), None)
    lines = [["shape", *names]]
    gathered: dict[str, list[float]] = {name: [] for name in names}
    for label in dict.fromkeys(row["label"] for row in rows):
        times = {row["contender"]: row["ms"] for row in rows if row["label"] == label}
        line = [label]
        for name in names:
            if name not in times:
                line.append("")
                continue
            cell = f"{np.median(times[name]):.3g}"
            if ours in times and name != ours:
                middle, low, high = ratios(times[ours], times[name])
                gathered[name].append(middle)
                cell += f" ({middle:.2f}; {low:.2f}-{high:.2f})"
            line.append(cell)
        lines.append(line)
    if ours is not None:
        means = [
            f"{np.exp(np.mean(np.log(gathered[name]))):.2f}" if gathered[name] else ""
            for name in names
        ]
        lines.append(["geometric mean of our time over theirs", *means])
    return markdown_table(lines)
