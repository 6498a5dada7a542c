"""The section of a card that shows how to use the model, in this package and in others.

In: `CardFacts`, and the text on exported files. Out: Markdown. `card.py` puts it into the card.
"""

from __future__ import annotations

from typing import NamedTuple

from lstm_lab.cards.facts import CardFacts
from lstm_lab.cards.sections import fenced


class ModelCall(NamedTuple):
    """How a model is called: the same in Python and in a shell.

    Attributes:
      imports: lines of Python that import what `code` needs.
      code: lines of Python that use `run`.
      command: the words after `lstm-lab`.
    """

    imports: str
    code: str
    command: str


# Tasks whose `predict` reads texts; that of the others reads arrays.
TEXTS = ("text", "tags", "translation")
# Tasks whose models generate. The flags are there because Python has other defaults.
GENERATE = {
    "language": ModelCall(
        "import lstm_lab as ll\nfrom lstm_lab.inference.generate import Sampling, generate",
        'pieces = generate(run.trained, "TEXT", 400, Sampling(temperature=0.8))\n'
        'print("TEXT" + "".join(pieces))',
        "generate --workdir=RUN --prompt=TEXT --length=400 --temperature=0.8",
    ),
    "jsb": ModelCall(
        "from pathlib import Path\n\nimport lstm_lab as ll\n"
        "from lstm_lab.inference.generate import Sampling\n"
        "from lstm_lab.inference.music import compose, write_midi",
        "notes = compose(run.trained, 64, Sampling(temperature=0.8))\n"
        'write_midi(notes, Path("piece.mid"))',
        "generate --workdir=RUN --format=midi --out=piece.mid --length=64 --temperature=0.8",
    ),
}
OWN_TASK = "a task of the user"  # no task of the package has this name
# What a file for `lstm-lab predict` holds, by task; other tasks read numbers.
FILES = {
    "text": "one text per line",
    "tags": "one sentence per line",
    "translation": "one sentence per line",
    "series": "a table with the columns of the training file; the model forecasts what follows it",
    "table": "a table with the columns of the training file, with or without the label",
    "waves": "one series per line, in the format of the training file",
    OWN_TASK: "one input per line, as the task of the author reads it",
}
NUMBERS = (
    "one sequence per line, as numbers with commas or spaces between them. For a sequence of "
    "vectors, write the numbers of the first vector, then those of the second one, and so on"
)


def use_section(facts: CardFacts, usage: str = "") -> str:
    """Returns how to load the model: in this package, and in others.

    Args:
      facts: the facts of the card.
      usage: as `card.model_card` takes it.

    Example:
      print(use_section(read_facts(Path("runs/adding"))))
    """
    files = ["run.json", "result.json", "checkpoints/best", *facts.own_code]
    files += ["preprocessing.json"] if "preprocessing_sha256" in facts.head else []
    listed = ", ".join(f"`{name}`" for name in files)
    run = f"`RUN` is the folder of the run. It holds {listed}."
    parts = ["### lstm_lab", run, *_in_lstm_lab(facts)]
    # A reader who finds the card next to exported files has these files, and perhaps not the run.
    if usage.strip():
        parts = ["### The files of this folder", usage.strip(), *parts]
    else:
        parts.append(_other_frameworks(bool(facts.own_code)))
    return "\n\n".join(parts)


def _in_lstm_lab(facts: CardFacts) -> list[str]:
    """Returns how to call the model in Python and on the command line."""
    trusted = bool(facts.own_code)
    # A task of the user's may have the name of one of the package.
    task = OWN_TASK if "task.py" in facts.own_code else facts.data.task
    call = GENERATE.get(task) or _predict(task)
    load = f'run = ll.load_run("RUN"{", trust_code=True" if trusted else ""})'
    command = f"lstm-lab {call.command}{' --trust-code' if trusted else ''}"
    parts = [
        fenced(f"{call.imports}\n\n{load}\n{call.code}", "python"),
        fenced(command, "sh"),
    ]
    if task not in GENERATE:
        parts.append(_inputs(task))
    if trusted:
        parts.append(
            "The run contains Python code of its author. Loading the run executes this code with "
            "your permissions."
        )
    return parts


def _predict(task: str) -> ModelCall:
    """Returns how to predict with a model."""
    inputs = '["a text", "another text"]' if task in TEXTS else "x"
    command = "predict --workdir=RUN --input=FILE"
    return ModelCall("import lstm_lab as ll", f"run.predict({inputs})", command)


def _inputs(task: str) -> str:
    """Returns the formats of `x` and `FILE`."""
    file = f"`FILE` contains {FILES.get(task, NUMBERS)}."
    if task in TEXTS:
        return file
    array = "`x` has the same format as the data of the task: symbols [N,T] or vectors [N,T,D]."
    return f"{array} {file}"


def _other_frameworks(trusted: bool) -> str:
    """Returns the command that exports the run."""
    # Late: the package of the targets imports what loads a run, which a card does not need.
    from lstm_lab.interop.targets import TARGETS

    flag = " --trust-code" if trusted else ""
    command = fenced(f"lstm-lab export RUN --to=torch --out=DIR{flag}", "sh")
    return f"### Other frameworks\n\n{command}\n\n`--to` is one of {', '.join(TARGETS)}."
