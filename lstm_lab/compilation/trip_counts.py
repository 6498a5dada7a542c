"""How often the body of a loop runs.

In: a module of HLO and a `while` in it. Out: the trip count that the compiler wrote down, or that
of a counter which begins at a constant and goes up by 1 to a constant. `kernels.py` uses it.
"""

from __future__ import annotations

import re

from lstm_lab.compilation.hlo import Instruction, Module

_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


def trip_count(module: Module, computation: str, loop: Instruction) -> int | None:
    """Returns how often the body of a loop runs, or None if the text does not say.

    Args:
      module: the program.
      computation: the name of the computation that has the loop.
      loop: its `while`.

    Example:
      trip_count(module, module.entry, module.by_name(module.entry)["while.3"])  # 100
    """
    known = _TRIP_COUNT.search(loop.attributes)
    if known:
        return int(known[1])
    limit = _limit(module, loop.attribute("condition"))
    if limit is None or not _steps_by_one(module, loop.attribute("body"), limit[0]):
        return None
    index, end = limit
    start = _initial(module, computation, loop, index)
    return None if start is None else max(0, end - start)


def _limit(module: Module, condition: str) -> tuple[int, int] | None:
    """Returns the place of the counter in the carry and its limit, if the condition is i < n."""
    instructions = module.by_name(condition)
    compare = module.instructions(condition)[-1]
    if compare.opcode != "compare" or compare.attribute("direction") != "LT":
        return None
    counter, limit = (instructions[name] for name in compare.operands)
    if counter.opcode != "get-tuple-element" or limit.opcode != "constant":
        return None
    return int(counter.attribute("index")), int(limit.arguments)


def _steps_by_one(module: Module, body: str, index: int) -> bool:
    """Returns whether the body adds the constant 1 to the counter."""
    instructions = module.by_name(body)
    carry = module.instructions(body)[-1]
    if carry.opcode != "tuple":
        return False
    step = instructions[carry.operands[index]]
    added = [instructions[name] for name in step.operands] if step.opcode == "add" else []
    return any(i.opcode == "constant" and i.arguments == "1" for i in added)


def _initial(module: Module, computation: str, loop: Instruction, index: int) -> int | None:
    """Returns the constant with which a value of the carry begins, or None."""
    instructions = module.by_name(computation)
    carry = instructions[loop.operands[0]]
    if carry.opcode != "tuple":
        return None
    value = instructions[carry.operands[index]]
    while value.opcode in ("copy", "bitcast"):
        value = instructions[value.operands[0]]
    return int(value.arguments) if value.opcode == "constant" else None
