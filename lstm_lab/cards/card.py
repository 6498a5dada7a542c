"""Writes the card of a model: MODEL_CARD.md, which the Hugging Face Hub shows as README.md.

In: the folder of a run. Out: Markdown with a front matter. `facts.py` reads the folder,
`sections.py` and `limits.py` write the text, `front_matter.py` what the Hub reads.
"""

from __future__ import annotations

from pathlib import Path

from lstm_lab.cards.facts import CardFacts, read_facts
from lstm_lab.cards.front_matter import front_matter_text, model_name
from lstm_lab.cards.limits import limits
from lstm_lab.cards.sections import (
    data_section,
    fenced,
    model_section,
    provenance_section,
    scores_section,
    settings_section,
)
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.escape import markdown
from lstm_lab.utils.files import write_text

CARD = "MODEL_CARD.md"
# How `predict` is called for a task that reads texts; the others read arrays.
TEXTS = ("text", "tags", "translation")


def write_card(folder: Path, out: Path | None = None) -> Path:
    """Writes the card of a run.

    Args:
      folder: the folder of the run.
      out: the file; None takes MODEL_CARD.md in the folder of the run.

    Returns:
      The path of the card.

    Raises:
      UserError: for a folder without a run, a run without a result, or a path that is a folder or
        does not end in .md.

    Example:
      write_card(Path("runs/adding"))  # runs/adding/MODEL_CARD.md
    """
    path = folder / CARD if out is None else out
    if path.is_dir():
        raise UserError(f"out: {path} is a folder, expected a file, e.g. {path / 'README.md'}")
    # A slip such as --out=RUN/run.json would replace the run.
    if path.suffix.lower() != ".md":
        raise UserError(f"out: got {path}, expected a file that ends in .md, e.g. README.md")
    write_text(path, model_card(folder))
    return path


def model_card(folder: Path, usage: str = "") -> str:
    """Returns the card of a run as Markdown.

    Args:
      folder: the folder of the run.
      usage: how to load the exported files that the card stands next to, as Markdown, which
        `interop.export_run` gives; without it the card names the command that exports.

    Returns:
      The text with its front matter.

    Raises:
      UserError: for a folder without a run, or a run without a result.

    Example:
      print(model_card(Path("runs/adding"), usage="Load `model.onnx`."))
    """
    facts = read_facts(folder)
    sentences = "\n".join(f"- {markdown(sentence)}" for sentence in limits(facts))
    sections = {
        "Model": model_section(facts),
        "Data": data_section(facts),
        "Scores": scores_section(facts),
        "Limits": sentences,
        "Use": _use(facts, usage),
        "Settings": settings_section(facts),
        "Provenance": provenance_section(facts),
    }
    parts = [f"# {markdown(model_name(facts))}", _first_paragraph(facts)]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return f"{front_matter_text(facts)}\n" + "\n\n".join(parts) + "\n"


def _first_paragraph(facts: CardFacts) -> str:
    """Returns what the model is and how good it is."""
    record, data, group = facts.record, facts.data, facts.group
    metric = record.metric if record.metric in record.test else next(iter(record.test))
    where = "" if data.name == data.task else f", on the data {markdown(data.name)}"
    score = f"{markdown(metric)} {record.test[metric]:.4g}"
    text = (
        f"A recurrent network with the cell {markdown(facts.cell)} and "
        f"{facts.parameters} parameters, trained with lstm_lab for the task "
        f"{markdown(data.task)}{where}. Score on the test split: {score}"
    )
    if group is not None and len(group.seeds) > 1 and metric in group.scores:
        mean = sum(group.scores[metric]) / len(group.seeds)
        text += f"; mean over {len(group.seeds)} seeds: {mean:.4g}"
    baseline = record.trivial.get("constant", {}).get(metric)
    return text + (f"; constant prediction: {baseline:.4g}." if baseline is not None else ".")


def _use(facts: CardFacts, usage: str) -> str:
    """Returns how to load the model: in this package, and in others."""
    files = ["run.json", "result.json", "checkpoints/best", *facts.own_code]
    files += ["preprocessing.json"] if "preprocessing_sha256" in facts.head else []
    listed = ", ".join(f"`{name}`" for name in files)
    run = f"`RUN` stands for the folder of the run, with {listed}."
    parts = ["### lstm_lab", run, *_in_lstm_lab(facts)]
    # Those who find the card next to exported files have these files, and perhaps not the run.
    if usage.strip():
        parts = ["### The files of this folder", usage.strip(), *parts]
    else:
        parts.append(_other_frameworks(bool(facts.own_code)))
    return "\n\n".join(parts)


def _in_lstm_lab(facts: CardFacts) -> list[str]:
    """Returns how to predict with the run, in Python and on the command line."""
    trusted = bool(facts.own_code)
    # A task of the user's may have the name of one of the package.
    task = "" if "task.py" in facts.own_code else facts.data.task
    inputs = '["a text", "another text"]' if task in TEXTS else "x"
    lines = ["import lstm_lab as ll", ""]
    lines.append(f'run = ll.load_run("RUN"{", trust_code=True" if trusted else ""})')
    lines.append(f"run.predict({inputs})")
    flag = " --trust-code" if trusted else ""
    command = {
        "language": "generate --workdir=RUN --prompt=TEXT",
        "jsb": "generate --workdir=RUN --format=midi --out=piece.mid",
    }.get(task, "predict --workdir=RUN --input=FILE")
    parts = [fenced("\n".join(lines), "python")]
    if task not in TEXTS:
        parts.append(
            "`x` holds inputs as the splits of the task do: symbols [N,T], or vectors [N,T,D]."
        )
    parts.append(fenced(f"lstm-lab {command}{flag}", "sh"))
    if trusted:
        parts.append("The run has code of its author, which then runs with all your rights.")
    return parts


def _other_frameworks(trusted: bool) -> str:
    """Returns the command that exports the run."""
    # Late: the package of the targets imports what loads a run, which a card does not need.
    from lstm_lab.interop.targets import TARGETS

    flag = " --trust-code" if trusted else ""
    command = fenced(f"lstm-lab export RUN --to=torch --out=DIR{flag}", "sh")
    return f"### Other frameworks\n\n{command}\n\n`--to` is one of {', '.join(TARGETS)}."
