"""Counts what a compiled program launches: in its loops, outside of them, and between devices.

In: the text of a compiled HLO module for CPU, GPU or TPU. Out: `CompiledProgram`: its loops with
their trip counts, the kernels of one iteration of each, the kernels outside of loops, and the
collectives. `time_loops` selects the loops over time. All of it is read from the text; nothing is
run.

A kernel is an instruction for which the device starts something: a fusion, a library call, a copy,
or an operation that stayed alone. Instructions that only name memory are none. One that computes a
number from numbers is of the kind "scalar": a TPU computes it next to its kernels, a GPU launches
it like any other. The condition of a loop is not counted, because a known trip count replaces it.

Read next: hlo.py, the form of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lstm_lab.compilation.hlo import Instruction, Module
from lstm_lab.recurrence.steps import TIME_SCOPE, UNROLLED_SCOPE

Kind = Literal["product", "fusion", "custom-call", "copy", "collective", "scalar", "other"]

COLLECTIVES = {
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
}
_PRODUCTS = {"dot", "convolution", "ragged-dot"}
# Calls of libraries that multiply matrices, by a part of their names.
_PRODUCT_CALLS = ("gemm", "cublas", "matmul", "$conv")
# Instructions that name or describe memory.
_NO_KERNEL = {
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "domain",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_NO_KERNEL_CALLS = {"AllocateBuffer", "Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}
_SCALAR = re.compile(r"\w+\[\]")
_UNROLLED = re.compile(rf"{UNROLLED_SCOPE}(\d+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class LaunchedKernel(NamedTuple):
    """Something that the device starts.

    Attributes:
      name: of the instruction.
      kind: "product" for a fusion or call with a matrix product, "copy" also for asynchronous
        copies, "scalar" for the result of one number, "other" for an operation outside a fusion.
      op_name: where it comes from in the JAX program; "" if the compiler made it.

    Example:
      LaunchedKernel("loop_add_fusion", "fusion", "jit(f)/while/body/add")
    """

    name: str
    kind: Kind
    op_name: str = ""


class Loop(NamedTuple):
    """A `while` of the program.

    Attributes:
      name: of the instruction.
      parent: the name of the loop that contains it, or None.
      trip_count: how often its body runs, or None if the text does not say.
      kernels: what one iteration starts, without the loops inside it.
      op_name: where it comes from in the JAX program.

    Example:
      len(program.loops[0].kernels)  # 3
    """

    name: str
    parent: str | None
    trip_count: int | None
    kernels: tuple[LaunchedKernel, ...]
    op_name: str = ""


class Collective(NamedTuple):
    """Communication between devices.

    Attributes:
      name: of the instruction; for an asynchronous one, of its start.
      opcode: such as "all-reduce".
      loop: the name of the innermost loop around it, or None.
      op_name: where it comes from in the JAX program.

    Example:
      [c for c in program.collectives if c.loop is not None]  # [] if no loop communicates
    """

    name: str
    opcode: str
    loop: str | None
    op_name: str = ""


class CompiledProgram(NamedTuple):
    """What a compiled program starts.

    Attributes:
      loops: an outer loop comes before the loops inside it.
      kernels: those outside of all loops.
      collectives: in the order of the text.

    Example:
      program = read_program(jax.jit(f).lower(x).compile().as_text())
    """

    loops: tuple[Loop, ...]
    kernels: tuple[LaunchedKernel, ...]
    collectives: tuple[Collective, ...]


class TimeLoop(NamedTuple):
    """A loop over the time steps of a layer.

    Attributes:
      loop: the innermost loop, one iteration of which is one step, or several.
      backward: whether it belongs to the backward pass.
      trip_count: how often it runs in all, with the loops over chunks around it; None if unknown.
      unrolled: the steps of one iteration.
      kernels_per_step: what one step starts, without scalars and with its share of the loop over
        chunks around it.
      scalars_per_step: the same for scalars, such as the counter of the loop.

    Example:
      forward = [t for t in time_loops(program) if not t.backward]
    """

    loop: Loop
    backward: bool
    trip_count: int | None
    unrolled: int
    kernels_per_step: float
    scalars_per_step: float

    def count(self, *kinds: Kind) -> int:
        """Returns how many kernels of these kinds one iteration of the innermost loop starts.

        Example:
          time_loop.count("copy")  # 0
        """
        return sum(kernel.kind in kinds for kernel in self.loop.kernels)


def read_program(text: str) -> CompiledProgram:
    """Reads what a compiled program starts.

    A program from JAX's compilation cache has the names of the code that was compiled first, unless
    `jax_compilation_cache_include_metadata_in_key` is set. Loops over time are found by names.

    Args:
      text: of a compiled module, from `Compiled.as_text()`.

    Returns:
      Its loops, its kernels outside of loops, and its collectives.

    Raises:
      ValueError: if the text is no compiled HLO module.

    Example:
      program = read_program(jax.jit(f).lower(x).compile().as_text())
      len(program.kernels), [loop.trip_count for loop in program.loops]  # (4, [20])
    """
    reader = _LaunchReader(Module(text))
    kernels = reader.read(reader.module.entry, None)
    return CompiledProgram(tuple(reader.loops), kernels, tuple(reader.collectives))


def time_loops(program: CompiledProgram) -> list[TimeLoop]:
    """Selects the loops over time, which `unroll` marks with a name.

    Args:
      program: from `read_program`.

    Returns:
      One entry for each innermost loop of a recurrent layer, in the order of the program. A
      backend without a loop over time, such as one kernel per sequence, has none.

    Example:
      [(t.backward, t.kernels_per_step) for t in time_loops(program)]  # [(False, 2.0), (True, 4.0)]
    """
    by_name = {loop.name: loop for loop in program.loops}
    parents = {loop.parent for loop in program.loops}
    return [
        _time_loop(loop, by_name)
        for loop in program.loops
        if TIME_SCOPE in loop.op_name and loop.name not in parents
    ]


def _time_loop(loop: Loop, by_name: dict[str, Loop]) -> TimeLoop:
    trips = loop.trip_count
    kernels, scalars = _numbers(loop)
    outer = by_name.get(loop.parent or "")
    while outer is not None and TIME_SCOPE in outer.op_name:
        if trips:
            around = _numbers(outer)
            kernels, scalars = kernels + around[0] / trips, scalars + around[1] / trips
        trips = trips * outer.trip_count if trips and outer.trip_count else None
        outer = by_name.get(outer.parent or "")
    marked = _UNROLLED.search(loop.op_name)
    steps = int(marked[1]) if marked else 1
    backward = "transpose(" in loop.op_name
    return TimeLoop(loop, backward, trips, steps, kernels / steps, scalars / steps)


def _numbers(loop: Loop) -> tuple[float, float]:
    """Returns how many kernels one iteration starts, and how many scalars."""
    scalars = sum(kernel.kind == "scalar" for kernel in loop.kernels)
    return float(len(loop.kernels) - scalars), float(scalars)


class _LaunchReader:
    """Goes through the computations of a module and collects loops and collectives."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.loops: list[Loop] = []
        self.collectives: list[Collective] = []

    def read(self, computation: str, loop: str | None) -> tuple[LaunchedKernel, ...]:
        """Returns the kernels that a computation starts outside of its loops."""
        kernels: list[LaunchedKernel] = []
        shapes = {i.name: i.shape for i in self.module.instructions(computation)}
        for instruction in self.module.instructions(computation):
            if instruction.opcode.endswith(("-done", "-update")):
                continue  # the second half of an operation that was counted at its start
            opcode = instruction.opcode.removesuffix("-start")
            match opcode:
                case "while":
                    self._read_loop(computation, instruction, loop)
                case "call" | "async":
                    for called in instruction.called:
                        kernels += self.read(called, loop)
                case "conditional":
                    # Only one branch runs: the one with the most kernels is the bound.
                    branches = [self.read(called, loop) for called in instruction.called]
                    kernels += sorted(branches, key=len)[-1]
                case _ if kind := self._kind(instruction, opcode, shapes):
                    kernels.append(LaunchedKernel(instruction.name, kind, instruction.op_name))
                    self._read_collectives(instruction, opcode, loop)
        return tuple(kernels)

    def _read_loop(self, computation: str, instruction: Instruction, parent: str | None) -> None:
        place = len(self.loops)
        kernels = self.read(instruction.attribute("body"), instruction.name)
        trips = _trip_count(self.module, computation, instruction)
        loop = Loop(instruction.name, parent, trips, kernels, instruction.op_name)
        self.loops.insert(place, loop)  # before the loops inside it

    def _read_collectives(self, instruction: Instruction, opcode: str, loop: str | None) -> None:
        if opcode in COLLECTIVES:
            opcodes = [opcode]
        else:
            opcodes = [inner for inner in self._inside(instruction) if inner in COLLECTIVES]
        self.collectives += [
            Collective(instruction.name, opcode, loop, instruction.op_name) for opcode in opcodes
        ]

    def _kind(self, instruction: Instruction, opcode: str, shapes: dict[str, str]) -> Kind | None:
        """Returns the kind of the kernel, or None if the instruction starts nothing."""
        if opcode in _NO_KERNEL:
            return None
        if opcode in COLLECTIVES:
            return "collective"
        if opcode == "custom-call":
            target = instruction.attribute("custom_call_target")
            if target in _NO_KERNEL_CALLS:
                return None
            is_product = any(part in target.lower() for part in _PRODUCT_CALLS)
            return "product" if is_product else "custom-call"
        operands = [shapes[name] for name in instruction.operands]
        if all(map(_SCALAR.match, [instruction.shape, *operands])):
            return "scalar"
        if opcode == "copy":
            return "copy"
        if opcode == "fusion":
            inside = set(self._inside(instruction))
            if inside & COLLECTIVES:
                return "collective"
            return "product" if inside & _PRODUCTS else "fusion"
        return "product" if opcode in _PRODUCTS else "other"

    def _inside(self, instruction: Instruction) -> Iterator[str]:
        """Yields the opcodes in the computations of a fusion; a TPU has fusions inside fusions."""
        if instruction.opcode.removesuffix("-start") != "fusion":
            return
        for called in instruction.called:
            for inner in self.module.instructions(called):
                yield inner.opcode
                yield from self._inside(inner)


def _trip_count(module: Module, computation: str, loop: Instruction) -> int | None:
    """Returns the trip count that the compiler wrote down, or that of a count in steps of 1."""
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
