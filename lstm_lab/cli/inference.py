"""Verbs of finished runs: predict, generate."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lstm_lab.cli.flags import parse, request_devices
from lstm_lab.utils.errors import DONE, UserError, unknown


def predict(argv: list[str]) -> int:
    """What a finished run says of new input, a line each."""
    strings = {"workdir": None, "input": "-", "format": "json"}
    given = parse(argv, strings, devices=1, beam=4)
    request_devices(given.devices)
    from lstm_lab.inference.load import load_run
    from lstm_lab.inference.predict import predict_lines, predict_stream

    if given.format not in ("json", "csv"):
        raise unknown("--format", given.format, ("json", "csv"))
    trained = load_run(_run_folder(given.workdir))
    with ExitStack() as stack:
        lines: Iterable[str] = sys.stdin
        if given.input != "-":
            path = Path(given.input)
            if not path.is_file():
                raise UserError(f"--input: {path} does not exist")
            lines = stack.enter_context(path.open(encoding="utf-8-sig"))
        if given.stream:
            _write(predict_stream(trained, lines), given.format)
        else:
            _write(predict_lines(trained, lines, given.beam), given.format)
    return DONE


def _write(answers: Iterator[dict[str, Any]], form: str) -> None:
    """Prints answers as they come: JSON lines, or CSV of labels and probabilities."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    for number, answer in enumerate(answers):
        if form == "json":
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
    """A language model writes on from a prompt, a model of music composes."""
    strings = {"workdir": None, "prompt": "", "format": "text", "out": "music.mid"}
    numbers = {"temperature": 0.8, "top_p": 1.0}
    given = parse(argv, strings, numbers, length=500, top_k=None, seed=0, devices=1)
    request_devices(given.devices)
    from lstm_lab.inference.generate import Sampling, generate
    from lstm_lab.inference.load import load_run

    if given.format not in ("text", "midi"):
        raise unknown("--format", given.format, ("text", "midi"))
    trained = load_run(_run_folder(given.workdir))
    if given.format == "midi":
        return _compose(trained, given)
    sampling = Sampling(given.temperature, given.top_k, given.top_p, given.seed)
    sys.stdout.write(given.prompt)
    for piece in generate(trained, given.prompt, given.length, sampling):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return DONE


def _compose(trained: Any, given: Any) -> int:
    from lstm_lab.inference.music import compose, write_midi

    notes_TD = compose(trained, given.length, given.temperature, given.seed)
    write_midi(notes_TD, Path(given.out))
    print(f"{given.out}: {len(notes_TD)} quarter notes, {notes_TD.sum(1).mean():.1f} voices")
    return DONE


def _run_folder(given: str | None) -> Path:
    if given is None:
        raise UserError("--workdir is required: the folder of a run")
    return Path(given)
