"""The sections of a card as Markdown: the model, its data, scores, settings and provenance.

In: `CardFacts`. Out: the text of each section. `card.py` puts them together. Texts of users, such
as names of files and labels, are escaped before they become Markdown.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from lstm_lab.cards.data import RunData
from lstm_lab.cards.facts import CardFacts, SeedGroup
from lstm_lab.cells import CATALOGUE, Spec
from lstm_lab.cells.catalogue import Variant
from lstm_lab.cells.equations import equations, symbols
from lstm_lab.cells.masks import default_rates
from lstm_lab.config.run_spec import SECTIONS
from lstm_lab.tasks import TASKS
from lstm_lab.utils.escape import markdown, visible
from lstm_lab.utils.tables import markdown_table
from lstm_lab.utils.types import JSON

# Enough to compare files; run.json and result.json have the whole hashes.
HASH_LENGTH = 12
# Settings that hold paths, next to the `files` of a task.
PATHS = ("model.cell", "model.vectors", "model.init_from")


def fenced(text: str, language: str = "") -> str:
    """Returns a text as a block of code, which shows it without changes.

    Args:
      text: the text.
      language: the language of the code, or nothing.

    Example:
      fenced("lstm-lab list", "sh")
    """
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def model_section(facts: CardFacts) -> str:
    """Returns what the model is: its variant with source and equations, and its layers.

    Args:
      facts: the facts of the card.

    Example:
      print(model_section(read_facts(Path("runs/adding"))))
    """
    settings = facts.record.settings
    variant = None if "cell.py" in facts.own_code else CATALOGUE.get(facts.cell)
    if variant is None:
        name = markdown(facts.cell)
        parts = [f"The cell {name} is the author's own. Its code is in `cell.py` of the run."]
        rates = {}
    else:
        parts = [_about_variant(variant, settings), _equations(variant.spec)]
        rates = default_rates(variant.spec)
    rows = [["part", "value"], *([key, text] for key, text in _layers(settings).items())]
    rows += [[rate.replace("_", " "), _rate(settings, rate, of)] for rate, of in rates.items()]
    rows.append(["parameters", facts.parameters])
    return "\n\n".join([*parts, markdown_table(rows)])


def _about_variant(variant: Variant, settings: dict[str, JSON]) -> str:
    """Returns what a variant is, and what this run changed in it."""
    cell = settings["model.cell"]
    text = f"The cell is `{cell}` of lstm_lab: {variant.change} ({variant.source})."
    changed = [
        f"{what} {markdown(str(settings[name]))}"
        for name, what in (("model.forget_bias", "forget bias"), ("model.init", "initializer"))
        if settings.get(name) is not None
    ]
    return f"{text} Here it has {' and '.join(changed)}." if changed else text


def _equations(spec: Spec) -> str:
    """Returns the equations of one time step, with the meaning of their names."""
    lines = fenced("\n".join(equation.text for equation in equations(spec)))
    names = "; ".join(f"{name}: {text}" for name, text in symbols(spec).items())
    return f"{lines}\n\n{markdown(names)}; h': h of the previous step; \\*: elementwise product."


def _rate(settings: dict[str, JSON], name: str, of_paper: float) -> str:
    """Returns a rate of the cell's regularization: that of the run, or that of the paper."""
    value = settings.get(f"model.{name}")
    return f"{of_paper if value is None else value:g} in training"


def _layers(settings: dict[str, JSON]) -> dict[str, str]:
    """Returns the parts of a model, from the inputs to the head, by name."""
    sizes = settings["model.hidden_sizes"] or [settings["model.hidden"]] * settings["model.layers"]
    units = ", ".join(map(str, sizes[:1] if len(set(sizes)) == 1 else sizes))
    layers = f"{len(sizes)} with {units} hidden units"
    if settings["model.bidirectional"]:
        layers += f" in each direction, joined by {settings['model.merge']}"
    parts = {"recurrent layers": layers}
    if settings["model.embedding"]:
        tied = ", shared with the head" if settings["model.tied"] else ""
        parts["embedding"] = f"{settings['model.embedding']} features{tied}"
    if settings["task.name"] == "translation":
        parts["attention"] = settings["model.attention"]
    parts["compute dtype"] = settings["model.dtype"]
    return parts


def data_section(facts: CardFacts) -> str:
    """Returns what the task is, the sizes of the splits, and the terms of the data sets.

    Args:
      facts: the facts of the card.

    Example:
      print(data_section(read_facts(Path("runs/adding"))))
    """
    data = facts.data
    name = markdown(data.task)
    own = f"The task {name} is the author's own. Its code is in `task.py` of the run."
    parts = [f"Task `{data.task}`: {data.text}" if data.text else own]
    parts += [
        f"Data set {name}: {data_set.title}, from <{data_set.page}>. Terms: {data_set.license}."
        for name, data_set in data.data_sets.items()
    ]
    if data.files:
        names = ", ".join(map(markdown, data.files))
        parts.append(
            f"The author's own data: {names} (SHA-256 of all files: "
            f"{markdown(str(data.sha256)[:HASH_LENGTH])})."
        )
    if "reads" in data.source:
        parts.append(_columns(data.source))
    parts.append(_splits(data))
    return "\n\n".join(parts)


def _columns(source: dict[str, JSON]) -> str:
    """Returns which columns of a user's table are read, and which are not."""
    read, target = (", ".join(map(markdown, source[key])) for key in ("reads", "predicts"))
    text = f"The model reads {read} and predicts {target}."
    left_out = [
        f"{markdown(name) or 'a column'} ({markdown(reason)})"
        for name, reason in source.get("left_out", {}).items()
    ]
    return text + (f" Columns that are left out: {', '.join(left_out)}." if left_out else "")


def _splits(data: RunData) -> str:
    """Returns the sizes of the splits as a table."""
    if not data.examples:
        return "The record does not have the sizes of the splits."
    rows = [["split", data.unit], *([name, f"{n:,}"] for name, n in data.examples.items())]
    if data.generated:
        rows.insert(1, ["train", "generated during training"])
    return markdown_table(rows)


def scores_section(facts: CardFacts) -> str:
    """Returns the scores next to the trivial baselines, with intervals over seeds if there are any.

    Args:
      facts: the facts of the card.

    Example:
      print(scores_section(read_facts(Path("runs/adding"))))
    """
    record, group = facts.record, facts.group
    several = group if group is not None and len(group.seeds) > 1 else None
    baselines = [f"{name.replace('_', ' ')} (test)" for name in record.trivial]
    header = ["metric", "better", "validation", "test"]
    header += [] if several is None else [f"mean test, {len(several.seeds)} seeds", "95 % interval"]
    rows = [[*header, *baselines]]
    for name, value in record.test.items():
        better = {"min": "lower", "max": "higher"}.get(facts.directions.get(name, ""), "")
        row = [name, better]
        row += [_number(record.valid.get(name)), _number(value)]
        row += [] if several is None else _over_seeds(several, name)
        rows.append([*row, *(_number(scores.get(name)) for scores in record.trivial.values())])
    return "\n\n".join([markdown_table(rows), _explained(facts, several)])


def _over_seeds(group: SeedGroup, metric: str) -> list[str]:
    """Returns the mean of a metric over seeds, and Student's interval."""
    # Late: SciPy's statistics take longer to start than the rest of a card of a single run.
    from lstm_lab.statistics.estimates import mean_interval

    mean = mean_interval(group.scores.get(metric, []))
    low, high = _number(mean.low), _number(mean.high)
    return [_number(mean.estimate), f"{low} to {high}" if low else ""]


def _explained(facts: CardFacts, several: SeedGroup | None) -> str:
    """Returns how to read the table of scores."""
    record = facts.record
    text = (
        f"The weights are those of step {record.best_step:,}, which has the best validation "
        f"{markdown(str(record.metric))}. They were then scored once on the test split."
    )
    if record.trivial:
        text += (
            " The trivial baselines need no neural network; `constant` ignores the input and "
            "predicts the frequencies or the mean of the training data."
        )
    if several is None:
        return f"{text}\n\nThere is no interval, since a single run has no spread over seeds."
    seeds = ", ".join(map(str, several.seeds))
    text += (
        f"\n\nThe mean is over the {len(several.seeds)} completed runs with these settings in the "
        f"study {markdown(several.study)} (seeds {seeds}), and the interval is Student's t for "
        f"this mean. The weights of this model are those of seed {record.seed}."
    )
    if several.folds:
        text += f" Each seed is tested on another part of the data ({several.folds} folds)."
    return text


def _number(value: float | None) -> str:
    """Returns a score with four significant digits; nothing if it has no value."""
    # Significant digits: an error of 1e-6 is not zero.
    return f"{value:.4g}" if value is not None and math.isfinite(value) else ""


def settings_section(facts: CardFacts) -> str:
    """Returns the settings that differ from the defaults of the package.

    Args:
      facts: the facts of the card.

    Example:
      print(settings_section(read_facts(Path("runs/adding"))))
    """
    rows = [["setting", "value", "default"]]
    task = facts.record.settings["task.name"]
    defaults = _defaults(task)
    for name, value in facts.record.settings.items():
        # Seeds, which belong to no section, and hashes are in the section on provenance.
        elsewhere = "." not in name or name in ("task.name", "task.sha256")
        if elsewhere or value == defaults.get(name, MISSING):
            continue
        default = "required" if name not in defaults else _shown(defaults[name])
        rows.append([name, _shown(_without_folders(value, holds_paths(name, task))), default])
    note = "All other settings have the defaults of the package."
    return f"{markdown_table(rows)}\n\n{note}" if len(rows) > 1 else note


def _defaults(task: str) -> dict[str, JSON]:
    """Returns the defaults of all settings by dotted name; those of a user's task are unknown."""
    classes: dict[str, Any] = {**SECTIONS, "task": TASKS.get(task)}
    return {
        f"{section}.{field.name}": list(default) if isinstance(default, tuple) else default
        for section, cls in classes.items()
        if cls is not None
        for field in fields(cls)
        if (default := field.default) is not MISSING
    }


def holds_paths(name: str, task: str) -> bool:
    """Returns whether a setting holds paths.

    Args:
      name: the dotted name of the setting.
      task: the name of the task.

    Example:
      holds_paths("task.file", "text")  # True
    """
    known, (section, _, option) = TASKS.get(task), name.partition(".")
    # The options of the author's own task are not known: all of them may hold paths.
    return name in PATHS or (section == "task" and (known is None or option in known.files))


def _without_folders(value: JSON, is_path: bool) -> JSON:
    """Returns a setting without the folders on the author's disk, which say nothing to others.

    Args:
      value: the setting.
      is_path: whether it holds paths; texts that begin with "/" are paths in any case.
    """
    if isinstance(value, list):
        return [_without_folders(part, is_path) for part in value]
    if isinstance(value, str) and (is_path or value.startswith("/")):
        return Path(value).name or value
    return value


def _shown(value: JSON) -> str:
    """Returns a setting as text; of a long list the first values."""
    if isinstance(value, list) and len(value) > 8:
        return f"{', '.join(map(str, value[:4]))}, ... ({len(value)} values)"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
