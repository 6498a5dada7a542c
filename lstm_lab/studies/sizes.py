"""Fair sizes: the hidden size that gives a variant the baseline's parameters or FLOP.

Cells of equal hidden size differ in size: a GRU has three quarters of an LSTM's parameters. A
comparison at equal hidden size would measure the number of parameters as well as the cell.
"""

from __future__ import annotations

from dataclasses import replace

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize_program
from lstm_lab.studies.study import Match
from lstm_lab.utils.errors import UserError


def match_size(spec: RunSpec, reference: RunSpec, match: Match) -> RunSpec:
    """Returns a run with the hidden size that brings it closest to the size of another run.

    Args:
      spec: the run.
      reference: the run whose size is the target.
      match: "params", or "flops" of a forward pass per time step.

    Raises:
      UserError: for runs with `model.hidden_sizes`: one number cannot set several sizes.
    """
    if spec.model.hidden_sizes is not None or reference.model.hidden_sizes is not None:
        raise UserError(
            f"match: {match!r} changes model.hidden: got model.hidden_sizes, expected None"
        )
    target = _size(reference, match)
    # Size grows with the hidden size: double until it is large enough, then bisect.
    low, high = 1, 2
    while _size(_with_hidden(spec, high), match) < target:
        low, high = high, 2 * high
    # Bisection: parameters and operations grow with the hidden size.
    while high - low > 1:
        middle = (low + high) // 2
        if _size(_with_hidden(spec, middle), match) < target:
            low = middle
        else:
            high = middle
    candidates = [_with_hidden(spec, hidden) for hidden in (low, high)]
    return min(candidates, key=lambda candidate: abs(_size(candidate, match) - target))


def _with_hidden(spec: RunSpec, hidden: int) -> RunSpec:
    return replace(spec, model=replace(spec.model, hidden=hidden))


def _size(spec: RunSpec, match: Match) -> float:
    summary = summarize_program(spec)
    return float(summary.total) if match == "params" else summary.flops_per_token
