"""The call chain from a session to the cell is short; docs/life_of_a_run.md names each call."""

import json
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.training import small_spec, train

CELL = """
import inspect, json
from dataclasses import replace
from pathlib import Path

from lstm_lab.cells import GATED_LSTM, CellSpec


def pointwise(spec, params, zx, zh, state, noise=None):
    frames = [(frame.filename, frame.frame.f_code.co_qualname) for frame in inspect.stack()[1:]]
    with Path(__file__).with_suffix(".jsonl").open("a") as file:
        print(json.dumps(frames[::-1]), file=file)
    return GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)


cell = CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise))
"""


def call_chain(frames):
    """Returns the package's functions, starting at the session; a closure counts as its parent."""
    chain = []
    for file, name in frames:
        path = Path(file)
        if not path.is_relative_to(ROOT / "lstm_lab"):
            continue
        function = f"{path.relative_to(ROOT / 'lstm_lab')}: {name.partition('.<locals>')[0]}"
        if function not in chain:
            chain.append(function)
    starts = [k for k, function in enumerate(chain) if "Session." in function]
    return chain[starts[-1] :] if starts else []


def test_at_most_nine_calls_lead_from_the_session_to_the_cell(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text(CELL)
    spec = small_spec(
        model={"cell": f"{path}:cell"}, compute={"backend": "scan"}, train={"steps": 1}
    )
    assert train([spec], tmp_path / "run").status == "completed"
    lines = path.with_suffix(".jsonl").read_text().splitlines()
    chains = [call_chain(json.loads(line)) for line in lines]
    training = [chain for chain in chains if "training/step.py: TrainStep.step" in chain]
    assert training
    page = (ROOT / "docs" / "life_of_a_run.md").read_text()
    for chain in training:
        assert chain[-1] == "cells/cell.py: advance"
        assert len(chain) - 1 <= 9, "\n".join(chain)
        for function in chain[1:]:
            file, name = function.split(": ")
            assert f"`{file}`" in page, file
            assert f"`{name}`" in page, name
