"""Fair sizes: a variant's hidden size that gives it the baseline's parameters or operations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Literal

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize
from lstm_lab.utils.errors import UserError

Match = Literal["hidden", "params", "flops"]


def matched(spec: RunSpec, reference: RunSpec, match: Match) -> RunSpec:
    """Returns a run with the hidden size at which it is nearest to another one's size.

    Args:
      spec: the run.
      reference: the run whose size it shall have.
      match: parameters, or operations of a forward pass for each time step.

    Raises:
      UserError: for runs whose layers differ in width, which no one hidden size decides.
    """
    if spec.model.hidden_sizes is not None or reference.model.hidden_sizes is not None:
        raise UserError(
            f"match: {match!r} changes model.hidden; allowed without model.hidden_sizes"
        )
    wanted = _size(reference, match)
    low, high = 1, 2
    while _size(_with_hidden(spec, high), match) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _size(_with_hidden(spec, middle), match) < wanted:
            low = middle
        else:
            high = middle
    candidates = [_with_hidden(spec, hidden) for hidden in (low, high)]
    return min(candidates, key=lambda one: abs(_size(one, match) - wanted))


def _with_hidden(spec: RunSpec, hidden: int) -> RunSpec:
    return replace(spec, model=replace(spec.model, hidden=hidden))


def _size(spec: RunSpec, match: Match) -> float:
    return _size_of(program_spec(spec), match)


@cache
def _size_of(spec: RunSpec, match: Match) -> float:
    found = summarize(spec)
    return float(found.total) if match == "params" else found.flops_per_token
