"""Writes the card of a model: MODEL_CARD.md, which the Hugging Face Hub shows as README.md.

In: the folder of a run. Out: Markdown with a front matter. `facts.py` reads the folder.
`sections.py`, `limits.py`, `use.py` and `provenance.py` write the text, `front_matter.py` the
fields for the Hub.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lstm_lab.cards.facts import CardFacts, read_facts
from lstm_lab.cards.front_matter import front_matter_text, model_name
from lstm_lab.cards.limits import limits
from lstm_lab.cards.provenance import provenance_section
from lstm_lab.cards.sections import (
    data_section,
    model_section,
    scores_section,
    settings_section,
)
from lstm_lab.cards.use import use_section
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.escape import markdown
from lstm_lab.utils.files import write_text
from lstm_lab.utils.progress import say

CARD = "MODEL_CARD.md"
# The last line of a card on disk. A page that shows the Markdown does not show it.
HASH_LINE = "\n<!-- lstm_lab wrote this card. SHA-256 of the text above: "
OTHER_FILE = "choose another file with --out=FILE, or delete it"


def write_card(folder: Path, out: Path | None = None) -> Path:
    """Writes the card of a run, and says so if it replaces an older card.

    Args:
      folder: the folder of the run.
      out: the file; None takes MODEL_CARD.md in the folder of the run.

    Returns:
      The path of the card.

    Raises:
      UserError: for a folder without a run, a run without a result, a path that is a folder or does
        not end in .md, or a file there that is not a card as lstm_lab wrote it.

    Example:
      write_card(Path("runs/adding"))  # runs/adding/MODEL_CARD.md
    """
    path = folder / CARD if out is None else out
    if path.is_dir():
        raise UserError(f"out: {path} is a folder, expected a file, e.g. {path / 'README.md'}")
    # A slip such as --out=RUN/run.json would replace the run.
    if path.suffix.lower() != ".md":
        raise UserError(f"out: got {path}, expected a file that ends in .md, e.g. README.md")
    text = with_hash(model_card(folder))
    replaces = path.exists()
    if replaces:
        _check_not_edited(path)
    write_text(path, text)
    if replaces:
        say(f"note: {path} was replaced")
    return path


def with_hash(text: str) -> str:
    """Returns a card with a last line that tells whether somebody edited it.

    Args:
      text: the card.

    Example:
      with_hash("# A model\\n").splitlines()[-1]  # "<!-- lstm_lab wrote this card. SHA-256 ... -->"
    """
    return f"{text}{HASH_LINE}{hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _check_not_edited(path: Path) -> None:
    """Raises UserError for a file that is not as `write_card` wrote it."""
    # Bytes: an editor that changes the line ends, or the encoding, has edited the file, too.
    content = path.read_bytes().decode("utf-8", "replace")
    text, line, _ = content.rpartition(HASH_LINE)
    if not line:
        raise UserError(f"card: {path} is not a card with a hash of lstm_lab; {OTHER_FILE}")
    if with_hash(text) != content:
        raise UserError(f"card: {path} was edited; {OTHER_FILE}")


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
        "Use": use_section(facts, usage),
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
