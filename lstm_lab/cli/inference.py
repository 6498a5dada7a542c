"""Verbs of finished runs: generate."""

from __future__ import annotations

import sys
from pathlib import Path

from lstm_lab.cli.flags import parse, request_devices
from lstm_lab.errors import DONE, UserError


def generate(argv: list[str]) -> int:
    """A language model writes on from a prompt."""
    strings = {"workdir": None, "prompt": ""}
    numbers = {"temperature": 0.8, "top_p": 1.0}
    given = parse(argv, strings, numbers, length=500, top_k=None, seed=0, devices=1)
    request_devices(given.devices)
    from lstm_lab import infer

    if given.workdir is None:
        raise UserError("--workdir: missing, allowed the folder of a run")
    trained = infer.load_run(Path(given.workdir))
    sampling = infer.Sampling(given.temperature, given.top_k, given.top_p, given.seed)
    sys.stdout.write(given.prompt)
    for piece in infer.generate(trained, given.prompt, given.length, sampling):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return DONE
