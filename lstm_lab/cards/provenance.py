"""The section of a card that tells where the weights come from.

In: `CardFacts`. Out: Markdown: the command that trains the model again, and a table of code,
versions, machine, time and hashes. `card.py` puts it into the card.
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import PurePath

from lstm_lab.cards.facts import CardFacts
from lstm_lab.cards.sections import HASH_LENGTH, fenced, holds_paths
from lstm_lab.utils.progress import duration
from lstm_lab.utils.tables import markdown_table
from lstm_lab.utils.types import JSON

# How the package is called: from its source, as a module, or as the installed command.
PROGRAMS = ("__main__.py", "lstm-lab", "lstm_lab")
# What a card tells about the machine; run.json has more.
MACHINE = {"device": "device", "processor": "processor", "threads": "CPU threads"}

# A text that begins so is a path.
_PATH_STARTS = ("/", "~", ".")


def provenance_section(facts: CardFacts) -> str:
    """Returns where the weights come from: command, code, versions, machine, time and hashes.

    Args:
      facts: the facts of the card.

    Example:
      print(provenance_section(read_facts(Path("runs/adding"))))
    """
    head, record = facts.head, facts.record
    git, machine = head.get("git") or {}, head.get("machine") or {}
    lanes = head["layout"]["lanes"]
    rows = {
        "command of the author": _command(facts),
        "id of the run": record.id,
        "seeds": _listed(head.get("seeds")),
        "git commit": (git.get("commit") or "")[:HASH_LENGTH],
        "changes that are not committed": "yes" if git.get("dirty") else None,
        "versions": _listed(head.get("versions")),
        "machine": _listed({name: machine[key] for key, name in MACHINE.items() if key in machine}),
        "backend of the recurrence": head.get("backend"),
        "started": _date(head["started"]) if head.get("started") else None,
        "steps": f"{record.steps:,}" if record.steps else None,
        "training time, without compiling": duration(record.wall_s) if record.wall_s else None,
        "runs that share this time": f"up to {lanes}" if lanes > 1 else None,
        "resumed at steps": ", ".join(map(str, head.get("resumed_at", []))),
        **{f"SHA-256 of {name}": value[:HASH_LENGTH] for name, value in _hashes(facts).items()},
    }
    table = markdown_table(
        [["fact", "value"], *([name, text] for name, text in rows.items() if text)]
    )
    return f"{_again(facts)}\n\n{table}\n\n{_about_hashes(facts)}"


def _listed(values: dict[str, JSON] | None) -> str:
    """Returns named values in a line."""
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _about_hashes(facts: CardFacts) -> str:
    """Returns what the hashes in the table mean."""
    text = (
        f"Hashes are cut to {HASH_LENGTH} characters. `run.json` and `result.json` have the whole "
        "hashes, and `sha256.json` has the hash of each file of the weights."
    )
    if facts.data.hashes:
        text += (
            " The hashes of data files are those of the published files, as listed in "
            "`lstm_lab/tasks/readers/sources.py`. lstm_lab checks a file when it downloads it, and "
            "not again later."
        )
    return text


def _again(facts: CardFacts) -> str:
    """Returns the command that trains the model again, from what the run holds."""
    trust = " --trust-code" if facts.own_code else ""
    command = fenced(f"lstm-lab train RUN/run.json --workdir=DIR{trust}", "sh")
    text = "This trains the model again. `RUN` is the folder of the run, `DIR` a new folder."
    if facts.data.files:
        settings, task = facts.record.settings, facts.data.task
        names = [name for name, value in settings.items() if value and holds_paths(name, task)]
        flags = [f"`--config.{name}=FILE`" for name in names if name.startswith("task.")]
        text += f" The author's data are not in the run: add {', '.join(flags)} for your copy."
    return f"{command}\n\n{text}"


def _command(facts: CardFacts) -> str | None:
    """Returns the command that trained the run, without folders of the author's machine."""
    if not facts.head.get("command"):
        return None
    program, *arguments = facts.head["command"]
    if program not in PROGRAMS:
        return f"{program}, which called lstm_lab from Python"
    task = str(facts.record.settings["task.name"])
    place = "RUN" if facts.group is None else "STUDY"
    words = ["lstm-lab"]
    for argument in arguments:
        is_workdir = words[-1] == "--workdir"
        words.append(place if is_workdir else _published(argument, task, place))
    return shlex.join(words)


def _published(argument: str, task: str, place: str) -> str:
    """Returns an argument of a command with the last name of each path alone."""
    if argument.startswith("--workdir="):
        return f"--workdir={place}"
    flag, equals, value = (
        argument.partition("=") if argument.startswith("-") else ("", "", argument)
    )
    # The value of another setting may have a slash that is none of a path, such as lstm/layer_0.
    is_path = not flag.startswith("--config.") or holds_paths(flag.partition(".")[2], task)
    if is_path or value.startswith(_PATH_STARTS):
        # A comma or a colon may be part of a name; before the start of a path, it separates paths.
        parts = re.split(r"([,:](?=[/~.]))", value)
        return f"{flag}{equals}{''.join(map(_last_name, parts))}"
    return argument


def _last_name(text: str) -> str:
    """Returns the last name of a path, which may follow the name of a config: `text:ann/a.txt`."""
    if text.startswith(_PATH_STARTS):
        return PurePath(text).name or text
    return re.sub(r"[^,:]*/(?=[^,:/])", "", text)


def _date(seconds: float) -> str:
    # In UTC: the time zone of the machine is not recorded.
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _hashes(facts: CardFacts) -> dict[str, str]:
    """Returns the hashes of the weights, and of the files that they depend on."""
    spec = facts.head["spec"]
    of_files = {
        "cell.py": spec.get("cell_sha256"),
        "task.py": spec.get("task_sha256"),
        "the word vectors": spec.get("vectors_sha256"),
        **facts.data.hashes,
        "preprocessing.json": facts.head.get("preprocessing_sha256"),
        **{name: entry.get("sha256") for name, entry in facts.result.get("files", {}).items()},
    }
    return {name: value for name, value in of_files.items() if value}
