"""Counts what a compiled program launches: in its loops, outside of them, and between devices.

In: the text of a compiled HLO module for CPU, GPU or TPU. Out: `CompiledProgram`: its kernels, its
loops with their trip counts, the branches of its conditionals, each a `Block` of the same form, and
the collectives. `time_loops` selects the loops over time. All of it is read from the text; nothing
is run.

A kernel is an instruction for which the device starts something: a fusion, a library call, a copy,
or an operation that stayed alone. Instructions that only name memory are none. One that computes a
number from numbers is of the kind "scalar": a TPU computes it next to its kernels, a GPU launches
it like any other. The condition of a loop is not counted, because a known trip count replaces it.

Read next: hlo.py, the form of the text, and trip_counts.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lstm_lab.compilation.hlo import Instruction, Module
from lstm_lab.compilation.trip_counts import trip_count
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


class Block(NamedTuple):
    """What runs together: a whole program, the body of a loop, or a branch of a conditional.

    Attributes:
      kernels: what it starts once, outside of its loops and branches.
      loops: those that no other loop or branch of it contains.
      conditionals: the branches of each conditional, of which one runs.

    Example:
      len(program.main.loops[0].body.kernels)  # 3
    """

    kernels: tuple[LaunchedKernel, ...] = ()
    loops: tuple[Loop, ...] = ()
    conditionals: tuple[tuple[Block, ...], ...] = ()

    def joined(self, other: Block) -> Block:
        """Returns a block that starts what both start.

        Example:
          Block().joined(block) == block  # True
        """
        return Block(
            self.kernels + other.kernels,
            self.loops + other.loops,
            self.conditionals + other.conditionals,
        )

    def all_loops(self, around: tuple[Loop, ...] = ()) -> Iterator[tuple[Loop, tuple[Loop, ...]]]:
        """Yields every loop, each with the loops around it, the innermost last.

        Args:
          around: the loops around this block.

        Example:
          [loop.trip_count for loop, _ in program.main.all_loops()]  # [3, 5]
        """
        for loop in self.loops:
            yield loop, around
            yield from loop.body.all_loops((*around, loop))
        for branches in self.conditionals:
            for branch in branches:
                yield from branch.all_loops(around)

    def launches(self, scalars: bool) -> float:
        """Returns what it starts at least: of a conditional, the branch with the fewest kernels.

        A loop without a known trip count counts once.

        Args:
          scalars: whether the device starts something for a single number, as a GPU does.

        Example:
          program.main.launches(scalars=True)  # 124.0
        """
        own = sum(scalars or kernel.kind != "scalar" for kernel in self.kernels)
        loops = sum(
            (1 if loop.trip_count is None else loop.trip_count) * loop.body.launches(scalars)
            for loop in self.loops
        )
        taken = sum(min(b.launches(scalars) for b in branches) for branches in self.conditionals)
        return own + loops + taken

    def cheapest(self, scalars: bool) -> Block:
        """Returns the block with the branches that `launches` counts in place of conditionals.

        Args:
          scalars: as in `launches`.

        Example:
          program.main.cheapest(scalars=True).conditionals  # ()
        """
        loops = tuple(loop._replace(body=loop.body.cheapest(scalars)) for loop in self.loops)
        block = Block(self.kernels, loops)
        for branches in self.conditionals:
            taken = min(branches, key=lambda branch: branch.launches(scalars)).cheapest(scalars)
            block = block.joined(taken)
        return block


class Loop(NamedTuple):
    """A `while` of the program.

    Attributes:
      name: of the instruction.
      trip_count: how often its body runs, or None if the text does not say.
      body: what one iteration starts.
      op_name: where it comes from in the JAX program.

    Example:
      program.main.loops[0].trip_count  # 20
    """

    name: str
    trip_count: int | None
    body: Block
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
      main: its kernels, loops and conditionals.
      collectives: those of all branches.

    Example:
      program = read_program(jax.jit(f).lower(x).compile().as_text())
    """

    main: Block
    collectives: tuple[Collective, ...] = ()


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
        return sum(kernel.kind in kinds for kernel in self.loop.body.kernels)


def read_program(text: str) -> CompiledProgram:
    """Reads what a compiled program starts.

    A program from JAX's compilation cache has the names of the code that was compiled first, unless
    `jax_compilation_cache_include_metadata_in_key` is set. Loops over time are found by names.

    Args:
      text: of a compiled module, from `Compiled.as_text()`.

    Returns:
      Its kernels, loops, conditionals and collectives.

    Raises:
      ValueError: if the text is no compiled HLO module.

    Example:
      program = read_program(jax.jit(f).lower(x).compile().as_text())
      len(program.main.kernels), [loop.trip_count for loop in program.main.loops]  # (4, [20])
    """
    reader = _LaunchReader(Module(text))
    main = reader.read(reader.module.entry, None)
    return CompiledProgram(main, tuple(reader.collectives))


def time_loops(block: Block) -> list[TimeLoop]:
    """Selects the loops over time, which `unroll` marks with a name.

    Args:
      block: of a program; kernels in conditionals inside of a loop over time are not counted.

    Returns:
      One entry for each innermost loop of a recurrent layer, in the order of the program. A
      backend without a loop over time, such as one kernel per sequence, has none.

    Example:
      [(t.backward, t.kernels_per_step) for t in time_loops(program.main)]
      # [(False, 2.0), (True, 4.0)]
    """
    return [
        _time_loop(loop, around)
        for loop, around in block.all_loops()
        if TIME_SCOPE in loop.op_name and not any(loop.body.all_loops())
    ]


def _time_loop(loop: Loop, around: tuple[Loop, ...]) -> TimeLoop:
    trips = loop.trip_count
    kernels, scalars = _numbers(loop)
    for outer in reversed(around):
        if TIME_SCOPE not in outer.op_name:
            break
        if trips:
            share = _numbers(outer)
            kernels, scalars = kernels + share[0] / trips, scalars + share[1] / trips
        trips = trips * outer.trip_count if trips and outer.trip_count else None
    marked = _UNROLLED.search(loop.op_name)
    steps = int(marked[1]) if marked else 1
    backward = "transpose(" in loop.op_name
    return TimeLoop(loop, backward, trips, steps, kernels / steps, scalars / steps)


def _numbers(loop: Loop) -> tuple[float, float]:
    """Returns how many kernels one iteration starts, and how many scalars."""
    kernels = loop.body.kernels
    scalars = sum(kernel.kind == "scalar" for kernel in kernels)
    return float(len(kernels) - scalars), float(scalars)


class _LaunchReader:
    """Goes through the computations of a module; collects collectives on the way."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.collectives: list[Collective] = []

    def read(self, computation: str, loop: str | None) -> Block:
        """Returns what a computation starts.

        Args:
          computation: its name.
          loop: the name of the innermost loop around it, or None.
        """
        block = Block()
        shapes = {i.name: i.shape for i in self.module.instructions(computation)}
        for instruction in self.module.instructions(computation):
            if instruction.opcode.endswith(("-done", "-update")):
                continue  # the second half of an operation that was counted at its start
            opcode = instruction.opcode.removesuffix("-start")
            match opcode:
                case "while":
                    new = Block(loops=(self._loop(computation, instruction),))
                case "call" | "async":
                    (called,) = instruction.called
                    new = self.read(called, loop)
                case "conditional":
                    branches = [self.read(called, loop) for called in instruction.called]
                    new = Block(conditionals=(tuple(branches),))
                case _ if kind := self._kind(instruction, opcode, shapes):
                    new = Block((LaunchedKernel(instruction.name, kind, instruction.op_name),))
                    self._read_collectives(instruction, opcode, loop)
                case _:
                    continue
            block = block.joined(new)
        return block

    def _loop(self, computation: str, instruction: Instruction) -> Loop:
        body = self.read(instruction.attribute("body"), instruction.name)
        trips = trip_count(self.module, computation, instruction)
        return Loop(instruction.name, trips, body, instruction.op_name)

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
