"""The suite `errors`: deviations from float64 are those of the number format."""

import math

import jax
import pytest

from lstm_lab.bench import errors
from lstm_lab.bench.cases import Case
from lstm_lab.bench.run import resumed
from lstm_lab.utils.files import read_json, write_json
from lstm_lab.utils.progress import Meter


@pytest.fixture(autouse=True)
def promotion():
    """Broadcasting of ranks, as in a process of a user."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_errors_match_the_precision_of_the_format(monkeypatch):
    two_cases = [Case("gradient", 4, 6, 5, 8, cell=cell) for cell in ("lstm", "gru")]
    monkeypatch.setattr(errors, "cases", lambda: two_cases)
    kept = []
    with Meter(2, "cases") as meter:
        names = ["lstm_lab scan fp32", "lstm_lab native fp32", "lstm_lab fused bf16"]
        new = errors.new_errors([*names, "lstm_lab cudnn fp32"], "lstm-lab bench")
        result = errors.run_errors(new, meter, kept.append, limit=math.inf)
    assert kept == [result, result]
    assert [row["contender"] for row in result["rows"]] == 2 * names
    for row in result["rows"]:
        low, high = (1e-4, 5e-2) if "bf16" in row["contender"] else (1e-9, 2e-6)
        assert low < row["outputs"] < high
        assert low < row["gradients"] < high
    assert "| gru, B 4, T 6, D 5, H 8 |" in errors.markdown(result)


def test_a_killed_run_continues_at_the_missing_cases(monkeypatch, tmp_path):
    two_cases = [Case("gradient", 4, 6, 5, 8, cell=cell) for cell in ("lstm", "rnn")]
    monkeypatch.setattr(errors, "cases", lambda: two_cases)
    path = tmp_path / "errors.json"
    new = errors.new_errors(["lstm_lab scan fp32"], "lstm-lab bench")

    def stop(result):
        write_json(path, result)
        raise KeyboardInterrupt

    with Meter(2, "cases") as meter, pytest.raises(KeyboardInterrupt):
        errors.run_errors(new, meter, stop, limit=math.inf)
    first = read_json(path)
    assert first["done"] == [two_cases[0].to_json()]
    with Meter(2, "cases") as meter:
        old = resumed(path, errors.new_errors(["lstm_lab scan fp32"], "lstm-lab bench"))
        result = errors.run_errors(old, meter, lambda partial: None, limit=math.inf)
        assert meter.done == 2
    assert result["rows"][0] == first["rows"][0]
    assert [row["case"]["cell"] for row in result["rows"]] == ["lstm", "rnn"]
