"""Verbs of finished runs: predict, generate, explain, card.

In: the folder of a run or a study, and lines of input or a prompt. Out: predictions or text on
standard output, a MIDI file, or a page. Read `inference/load.py` and `inference/predict.py` next.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lstm_lab.cli.finished_runs import load_trained, one_folder, run_argument, run_folder
from lstm_lab.cli.options import (
    COUNT,
    Folder,
    OneOf,
    Whole,
    data_dir,
    flag,
    run_flag,
    switch,
    trust_code,
)
from lstm_lab.utils.errors import DONE, UserError, missing_file
from lstm_lab.utils.escape import json_line, on_terminal, visible

if TYPE_CHECKING:
    from lstm_lab.inference.generate import Sampling
    from lstm_lab.inference.load import Trained


@click.command(
    epilog="""\b
Examples:
  echo "a film to see twice" | lstm-lab predict --workdir=runs/imdb
  lstm-lab predict --workdir=runs/ecg --input=new.csv --format=csv
  lstm-lab predict --workdir=runs/load --input=load.csv --rolling"""
)
@run_argument
@run_flag
@trust_code
@flag(
    "--input",
    "The file to read, e.g. --input=new.csv; - is standard input.",
    metavar="FILE",
    # As in most tools, "-" is standard input.
    default="-",
    show_default=True,
)
@flag(
    "--format",
    "JSON lines or CSV, e.g. --format=csv.",
    type=OneOf(["json", "csv"]),
    default="json",
    show_default=True,
)
@switch("--rolling", "Forecasts from every row of the input, e.g. --rolling.")
@switch("--stream", "All lines are one sequence; each line is answered at once, e.g. --stream.")
@flag(
    "--beam",
    "Number of hypotheses of a translation, e.g. --beam=8.",
    metavar="N",
    type=COUNT,
    default=4,
    show_default=True,
)
def predict(
    folder: Path | None,
    workdir: Path | None,
    run: str | None,
    trust_code: bool,
    input: str,
    format: str,
    rolling: bool,
    stream: bool,
    beam: int,
) -> int:
    """Predicts with a trained model, line by line.

    The input is read as the training file was: a header is recognized, labels are ignored, and the
    delimiter is found. RUN is the folder of a run or a study; the best run of a study answers, or
    the one that --run names. Empty lines are skipped. A line of vectors has the numbers of one time
    step after the other.
    """
    if rolling and stream:
        raise UserError("--rolling, --stream: expected only one of them")
    trained = load_trained(run_folder(one_folder(folder, workdir), run), trust_code)
    task = trained.spec.task
    if task.source_vocabulary is None:
        _refuse(["beam"], f"a run of {task.name}")
    from lstm_lab.inference.predict import predict_lines, predict_rolling, predict_stream
    from lstm_lab.tasks.readers.files import stream_lines

    with ExitStack() as stack:
        lines = stream_lines(_opened(input, stack), "input")
        if rolling:
            _write(predict_rolling(trained, lines), format)
        elif stream:
            _write(predict_stream(trained, lines), format)
        else:
            _write(predict_lines(trained, lines, beam), format)
    return DONE


def _opened(input: str, stack: ExitStack) -> Iterable[bytes | str]:
    """Returns the open input: standard input, a file, or a pipe such as /dev/fd/63."""
    if input == "-":
        # As bytes, so that its text is checked as that of a file. A program that calls this one may
        # have put a stream of text in its place.
        return getattr(sys.stdin, "buffer", sys.stdin)
    path = Path(input)
    if path.is_dir():
        raise UserError(f"--input: {path} is a folder, expected a file")
    try:
        # A pipe gives its content once, so it is opened once.
        return stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        raise missing_file("--input", path) from None
    except OSError as error:
        raise UserError(f"--input: {path} cannot be read: {error.strerror}") from None


class _Printer:
    """Standard output, where labels, names and symbols of a foreign run control no terminal."""

    def write(self, text: str) -> None:
        """Writes a text, and lets it appear."""
        sys.stdout.write(on_terminal(text, sys.stdout))
        sys.stdout.flush()


def _write(answers: Iterator[dict[str, Any]], form: str) -> None:
    """Prints answers as they come: JSON lines, or CSV of labels, values or forecasts."""
    table = csv.writer(_Printer(), lineterminator="\n")
    for number, answer in enumerate(answers):
        if form == "json":
            # Flushed: with `--stream`, another program may wait for each answer.
            print(json_line(answer), flush=True)
            continue
        if "forecast" in answer:
            _write_forecast(table, answer, header=number == 0)
            continue
        label, p = answer.get("label"), answer.get("probabilities", {})
        if label is None and "values" not in answer:
            raise UserError("--format: got csv, expected json (no single label or values)")
        named = isinstance(p, dict) and label is not None
        if named and number == 0:
            table.writerow(["label", *p])
        table.writerow([label, *p.values()] if named else answer["values"])


def _write_forecast(table: Any, answer: dict[str, Any], header: bool) -> None:
    """Prints a forecast as a row of CSV, with a column for each forecast row of each target."""
    after = {"after": answer["after"]} if "after" in answer else {}
    columns = answer["forecast"].items()
    row = after | {f"{name} +{k}": v for name, values in columns for k, v in enumerate(values, 1)}
    if header:
        table.writerow(row)
    table.writerow(row.values())


@click.command(
    epilog="""\b
Examples:
  lstm-lab generate --workdir=runs/shakespeare --prompt="ROMEO:" --length=400
  lstm-lab generate --workdir=runs/jsb --format=midi --out=chorale.mid"""
)
@run_argument
@run_flag
@trust_code
@flag("--prompt", 'The text to continue, e.g. --prompt="ROMEO:".', metavar="TEXT", default="")
@flag(
    "--length",
    "The number of symbols, or of quarter notes, e.g. --length=400.",
    metavar="N",
    type=COUNT,
    default=500,
    show_default=True,
)
@flag(
    "--temperature",
    "0 takes the most probable symbol, 1 draws as the model says, e.g. --temperature=0.7.",
    metavar="T",
    type=float,
    default=0.8,
    show_default=True,
)
@flag(
    "--top-k",
    "Draws from the K most probable symbols, e.g. --top-k=20.",
    metavar="K",
    type=COUNT,
)
@flag(
    "--top-p",
    "Draws from the most probable symbols that together have this probability, e.g. --top-p=0.9.",
    metavar="P",
    type=float,
    default=1.0,
    show_default=True,
)
@flag(
    "--seed",
    "The random seed, e.g. --seed=3.",
    metavar="N",
    type=Whole(0),
    default=0,
    show_default=True,
)
@flag(
    "--format",
    "Text, or MIDI for a model of music, e.g. --format=midi.",
    type=OneOf(["text", "midi"]),
    default="text",
    show_default=True,
)
@flag(
    "--out",
    "The MIDI file, e.g. --out=chorale.mid.",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("music.mid"),
    show_default=True,
)
def generate(
    folder: Path | None,
    workdir: Path | None,
    run: str | None,
    trust_code: bool,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
    format: str,
    out: Path,
) -> int:
    """Generates text or music with a trained model.

    RUN is the folder of a run or a study; the best run of a study answers, or the one that --run
    names.
    """
    _refuse(["prompt", "top_k", "top_p"] if format == "midi" else ["out"], f"--format={format}")
    from lstm_lab.inference.generate import Sampling, generate

    # Before the run is read: a wrong number costs no waiting.
    sampling = Sampling(temperature, top_k, top_p, seed)
    trained = load_trained(run_folder(one_folder(folder, workdir), run), trust_code)
    if format == "midi":
        return _compose(trained, length, sampling, out)
    printer = _Printer()
    printer.write(prompt)
    for piece in generate(trained, prompt, length, sampling):
        printer.write(piece)
    printer.write("\n")
    return DONE


def _refuse(names: list[str], reason: str) -> None:
    """Raises UserError for a flag that was given and would be ignored."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            shown = name.replace("_", "-")
            raise UserError(f"--{shown}: it has no effect with {reason}; leave it out")


def _compose(trained: Trained, frames: int, sampling: Sampling, out: Path) -> int:
    from lstm_lab.inference.music import compose, write_midi

    notes_TD = compose(trained, frames, sampling)
    write_midi(notes_TD, out)
    print(f"{out}: {len(notes_TD)} quarter notes, {notes_TD.sum(1).mean():.1f} voices")
    return DONE


@click.command(
    epilog="""\b
Examples:
  lstm-lab explain runs/parity
  lstm-lab explain runs/adding --analyses=fixed_points,signals --out=runs/adding/memory"""
)
@run_argument
@run_flag
@flag(
    "--analyses",
    "The analyses to run, e.g. --analyses=fixed_points,lesions. By default all: fixed_points, "
    "lyapunov, gradient, lesions, signals, learning_rules.",
    metavar="NAMES",
)
@flag(
    "--out",
    "The folder of the page, e.g. --out=runs/first/memory. By default `explain` in that of the "
    "run.",
    metavar="DIR",
    type=Folder(),
)
@data_dir
@trust_code
def explain(
    folder: Path | None,
    workdir: Path | None,
    run: str | None,
    analyses: str | None,
    out: Path | None,
    data_dir: Path | None,
    trust_code: bool,
) -> int:
    """Explains what a trained network does, as a page.

    Its fixed points, Lyapunov exponents, the gradient by lag, lesions of gates, units that follow
    signals of the task, and learning rules. RUN is the folder of a run or a study; of a study, the
    best run is explained, or the one that --run names.
    """
    place = run_folder(one_folder(folder, workdir), run)
    from lstm_lab.api.runs import Run
    from lstm_lab.explain.page import summary
    from lstm_lab.training.devices import prepare_devices

    prepare_devices(default=1)
    names = [name.strip() for name in analyses.split(",")] if analyses else []
    explanation = Run(place, trust_code).explain(names, out=out, data_dir=data_dir)
    for heading, found in summary(explanation)[1:]:
        print(visible(f"{heading}: {found}"))
    print(f"\n{(out or place / 'explain') / 'explain.html'}")
    return DONE


@click.command(
    epilog="""\b
Examples:
  lstm-lab card runs/imdb
  lstm-lab card runs/five --run=1f0c2a9b7d3e --out=hub/README.md"""
)
@run_argument
@run_flag
@flag(
    "--out",
    "The file, e.g. --out=hub/README.md. By default MODEL_CARD.md in the folder of the run.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
def card(folder: Path | None, workdir: Path | None, run: str | None, out: Path | None) -> int:
    """Writes the model card of a run, in the layout of the Hugging Face Hub.

    Data, scores and intervals, limits, settings, provenance, and how to load the model. RUN is the
    folder of a run or a study; of a study, the card is that of the best run, or of --run.
    """
    from lstm_lab.cards.card import write_card

    print(write_card(run_folder(one_folder(folder, workdir), run), out))
    return DONE
