"""What the compiler says about the programs of a run or a study, as text and as JSON.

In: the `ProgramReport`s of a target. Out: a table on wide terminals, one block of lines for each
program on narrow ones, and a last line that says whether everything fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from lstm_lab.compilation.chips import GIB
from lstm_lab.compilation.launches import StepLaunches
from lstm_lab.compilation.memory import MemoryUse
from lstm_lab.compilation.programs import ProgramReport
from lstm_lab.compilation.targets import Target
from lstm_lab.config.ids import run_id
from lstm_lab.utils.progress import duration
from lstm_lab.utils.tables import aligned
from lstm_lab.utils.types import JSON

HEAD = (
    *("program", "runs", "layout", "compiles", "memory", "of chip"),
    *("kernels", "time step", "collectives", "at least"),
)
MIB = 2.0**20


def as_text(reports: Sequence[ProgramReport], target: Target, width: int) -> str:
    """Returns the report for a terminal.

    Args:
      reports: one for each program.
      target: the machine.
      width: columns of the terminal.

    Example:
      print(as_text(reports, find_target("v5e-4"), shutil.get_terminal_size().columns))
    """
    table = aligned([list(HEAD), *map(_row, reports)])
    wide = max(map(len, table.splitlines())) <= width
    if len(reports) > 1 and wide:
        body = [table, *(f"{_name(r)}: {r.refused}" for r in reports if r.refused)]
    else:
        body = ["\n".join(_block(report)) for report in reports]
    return "\n\n".join([*body, verdict(reports, target)])


def verdict(reports: Sequence[ProgramReport], target: Target) -> str:
    """Returns the line that says whether all programs fit, and what they cost at least.

    Example:
      verdict(reports, target)  # "3 programs for 40 runs: all fit v5e-4; ..."
    """
    runs = sum(report.program.runs for report in reports)
    failed = [_name(report) for report in reports if not report.fits]
    counted = f"{_count(len(reports), 'program')} for {_count(runs, 'run')}"
    fit = f"all fit {target.name}"
    if failed:
        fit = f"{len(failed)} of {len(reports)} do not fit {target.name} ({', '.join(failed)})"
    lines = f"{counted}: {fit}"
    bounds = [report.bound for report in reports]
    if target.chip is not None and None not in bounds:
        seconds = sum(bound for bound in bounds if bound is not None)
        # Hosts train cohorts of a study side by side; one run uses all hosts at once.
        shared = all(report.program.layout.hosts == 1 for report in reports)
        hosts = target.hosts if shared else 1
        among = f" with {hosts} hosts" if hosts > 1 else ""
        lines += f"; at least {_time(seconds / hosts)} for all steps{among}, without evaluations"
    if target.chip is not None:
        lines += f". Compiled here and not run: no {target.name} was used."
    return lines


def as_json(reports: Sequence[ProgramReport], target: Target) -> dict[str, JSON]:
    """Returns the report as values of a JSON file.

    Example:
      as_json(reports, target)["fits"]  # True
    """
    return {
        "target": target.name,
        "device": target.pool.type._asdict(),
        "devices": target.pool.devices,
        "hosts": target.hosts,
        "fits": all(report.fits for report in reports),
        "programs": [_values(report) for report in reports],
    }


def _values(report: ProgramReport) -> dict[str, JSON]:
    program = report.program
    parts = {
        "memory": report.memory and {**report.memory._asdict(), "fits": report.memory.fits},
        "launches": report.launches and report.launches._asdict(),
        "cost": report.cost and report.cost._asdict(),
    }
    return {
        "run": run_id(program.spec),
        "task": program.spec.task.name,
        "variants": list(program.variants),
        "runs": program.runs,
        "layout": asdict(program.layout),
        "backends": list(report.backends),
        "compiles": not report.refused,
        "refused": report.refused,
        "seconds": report.seconds,
        "least_seconds_of_all_steps": report.bound,
        **parts,
    }


def _name(report: ProgramReport) -> str:
    # All variants of a program have its cell; they differ in numbers.
    spec, layout = report.program.spec, report.program.layout
    return f"{spec.task.name} {spec.model.cell} H={layout.width or spec.model.hidden}"


def _layout(report: ProgramReport) -> str:
    layout = report.program.layout
    lanes = _count(layout.lanes, "lane")
    match layout.kind:
        case "single":
            return f"{lanes}, 1 device"
        case "members":
            return f"{lanes} over {layout.devices}"
        case "batch":
            return f"{lanes}, batch over {layout.devices}"


def _row(report: ProgramReport) -> list[str]:
    """Returns the cells of a program in the table."""
    row = [_name(report), str(report.program.runs), _layout(report)]
    memory, launches = report.memory, report.launches
    if memory is None or launches is None or report.cost is None:
        return [*row, "no", *[""] * (len(HEAD) - 4)]
    return [
        *row,
        f"{report.seconds:.0f} s",
        _size(memory.total),
        f"{memory.total / memory.capacity:.1%}" + ("" if memory.fits else " TOO LARGE"),
        "" if launches.total is None else f"{launches.total:,.0f}",
        _per_time_step(launches),
        _collectives(launches),
        "" if report.cost.seconds is None else f"{_time(report.cost.seconds)} a step",
    ]


def _block(report: ProgramReport) -> list[str]:
    """Returns the lines of a program on a narrow terminal."""
    title = f"{_name(report)}: {_count(report.program.runs, 'run')}, {_layout(report)}"
    memory, launches, cost = report.memory, report.launches, report.cost
    if memory is None or launches is None or cost is None:
        return [title, f"  does not compile: {report.refused}"]
    lines = [
        title,
        f"  compiles     {report.seconds:.0f} s, backend {', '.join(report.backends)}",
        *_memory_lines(memory),
    ]
    if launches.total is not None:
        lines.append(f"  kernels      {launches.total:,.0f} per optimizer step")
    lines += [
        f"  time step    {_per_time_step(launches)}",
        f"  collectives  {_collectives(launches)}",
        f"  work         {cost.flops:.3g} FLOP and {_size(cost.bytes)} per optimizer step",
    ]
    if cost.seconds is not None:
        lines.append(f"  at least     {_time(cost.seconds)} per optimizer step ({cost.limit})")
    return lines


def _memory_lines(memory: MemoryUse) -> list[str]:
    fits = "fits" if memory.fits else "does NOT fit"
    parts = [
        f"state {_size(memory.state)} (parameters {_size(memory.parameters)})",
        f"data {_size(memory.data)}",
        f"padding {_size(memory.padding)}",
        f"temporaries {_size(memory.temporaries)}",
        f"code {_size(memory.code)}",
    ]
    return [
        f"  memory       {_size(memory.total)} of {_size(memory.capacity)} per device: {fits}",
        *(f"               {part}" for part in parts),
    ]


def _per_time_step(launches: StepLaunches) -> str:
    """Returns the kernels of a time step of the layer that has most of them."""
    if not launches.forward and not launches.backward:
        return "no loop"
    forward, backward = (max(side, default=0.0) for side in (launches.forward, launches.backward))
    return f"{forward:.3g} forward, {backward:.3g} backward"


def _collectives(launches: StepLaunches) -> str:
    if not launches.collectives:
        return "none"
    inside = "none" if not launches.in_time_loops else str(launches.in_time_loops)
    return f"{launches.collectives}, {inside} in a time loop"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(size: float) -> str:
    return f"{size / GIB:.3g} GiB" if size >= GIB else f"{size / MIB:.3g} MiB"


def _time(seconds: float) -> str:
    """Returns a time; below ten seconds with three digits."""
    if seconds >= 10:
        return duration(seconds)
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
