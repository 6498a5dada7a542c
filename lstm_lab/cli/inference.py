"""Verbs of finished runs: predict, generate.

In: the folder of a run, and lines of input or a prompt. Out: predictions or text on standard
output, or a MIDI file. Read `inference/load.py` and `inference/predict.py` next.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.cli.flags import parse, request_devices
from lstm_lab.utils.errors import DONE, UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.inference.load import Trained


@dataclass(frozen=True)
class PredictFlags:
    """Flags of `predict`; `lstm-lab help` explains the common ones."""

    workdir: str | None = None
    # As in most tools, "-" is standard input.
    input: str = "-"
    format: str = "json"
    # A prediction is one call on one device, so more devices would have nothing to do.
    devices: int = 1
    beam: int = 4
    stream: bool = False


@dataclass(frozen=True)
class GenerateFlags:
    """Flags of `generate`; `lstm-lab help` explains the common ones."""

    workdir: str | None = None
    prompt: str = ""
    format: str = "text"
    out: str = "music.mid"
    temperature: float = 0.8
    top_p: float = 1.0
    length: int = 500
    top_k: int | None = None
    seed: int = 0
    devices: int = 1


def predict(argv: list[str]) -> int:
    """Prints the predictions of a finished run for new input, one line each.

    Args:
      argv: the arguments after the verb, see `PredictFlags`.

    Raises:
      UserError: for a wrong flag, a folder without a finished run, or input that the task rejects.
    """
    flags = parse(argv, PredictFlags)
    # Before anything below uses JAX: its devices are fixed at the first use.
    request_devices(flags.devices)
    from lstm_lab.inference.load import load_run
    from lstm_lab.inference.predict import predict_lines, predict_stream

    # Before the run is loaded: a wrong flag need not wait for that.
    if flags.format not in ("json", "csv"):
        raise unknown("--format", flags.format, ("json", "csv"))
    trained = load_run(_run_folder(flags.workdir))
    with ExitStack() as stack:
        lines: Iterable[str] = sys.stdin
        if flags.input != "-":
            path = Path(flags.input)
            if not path.is_file():
                raise UserError(f"--input: {path} does not exist")
            # Some editors and spreadsheets start a file with a byte order mark. As a part of the
            # first line it would be an unknown symbol.
            lines = stack.enter_context(path.open(encoding="utf-8-sig"))
        if flags.stream:
            _write(predict_stream(trained, lines), flags.format)
        else:
            _write(predict_lines(trained, lines, flags.beam), flags.format)
    return DONE


def _write(answers: Iterator[dict[str, Any]], form: str) -> None:
    """Prints answers as they come: JSON lines, or CSV of labels and probabilities, or of values."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    for number, answer in enumerate(answers):
        if form == "json":
            # Flushed: with `--stream`, another program may wait for each answer.
            print(json.dumps(answer, ensure_ascii=False), flush=True)
            continue
        label, p = answer.get("label"), answer.get("probabilities", {})
        if label is None and "values" not in answer:
            raise UserError("--format: got csv, expected json (no single label or values)")
        named = isinstance(p, dict) and label is not None
        if named and number == 0:
            table.writerow(["label", *p])
        table.writerow([label, *p.values()] if named else answer["values"])
        sys.stdout.flush()


def generate(argv: list[str]) -> int:
    """Generates text that continues a prompt, or composes music.

    Args:
      argv: the arguments after the verb, see `GenerateFlags`.

    Raises:
      UserError: for a wrong flag, a folder without a finished run, or a run of another kind.
    """
    flags = parse(argv, GenerateFlags)
    request_devices(flags.devices)
    from lstm_lab.inference.generate import Sampling, generate
    from lstm_lab.inference.load import load_run

    if flags.format not in ("text", "midi"):
        raise unknown("--format", flags.format, ("text", "midi"))
    trained = load_run(_run_folder(flags.workdir))
    if flags.format == "midi":
        return _compose(trained, flags)
    sampling = Sampling(flags.temperature, flags.top_k, flags.top_p, flags.seed)
    sys.stdout.write(flags.prompt)
    for piece in generate(trained, flags.prompt, flags.length, sampling):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return DONE


def _compose(trained: Trained, flags: GenerateFlags) -> int:
    from lstm_lab.inference.music import compose, write_midi

    notes_TD = compose(trained, flags.length, flags.temperature, flags.seed)
    write_midi(notes_TD, Path(flags.out))
    print(f"{flags.out}: {len(notes_TD)} quarter notes, {notes_TD.sum(1).mean():.1f} voices")
    return DONE


def _run_folder(workdir: str | None) -> Path:
    if workdir is None:
        raise UserError("--workdir is required: the folder of a run")
    return Path(workdir)
