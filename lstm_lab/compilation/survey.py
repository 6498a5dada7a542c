"""Every config and every variant of the catalogue, compiled for a target: one row of a table each.

In: a target, its devices and the folder of data. Out: rows, as `report.as_json` writes them, with a
name. A variant is compiled on the task `adding`, whose config has the variant as its word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import jax

from lstm_lab.cells import CATALOGUE
from lstm_lab.compilation.programs import compile_programs, run_program
from lstm_lab.compilation.report import as_json
from lstm_lab.compilation.targets import Target
from lstm_lab.config.find import list_files
from lstm_lab.config.load import load_spec
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_lines
from lstm_lab.utils.tables import markdown_table
from lstm_lab.utils.types import JSON


def survey_names() -> list[str]:
    """Returns the configs and the variants, as words for `lstm-lab compile`.

    Example:
      survey_names()[-1]  # "adding:minlstm"
    """
    return [*list_files("configs"), *(f"adding:{variant}" for variant in CATALOGUE)]


def read_survey(path: Path) -> list[dict[str, JSON]]:
    """Returns the rows of an earlier survey; none if the file does not exist.

    Args:
      path: the file of `compile --all --out`.

    Raises:
      UserError: if the file has anything else, which the next row would replace.

    Example:
      survey_table(read_survey(Path("v5e.jsonl")))
    """
    rows = read_lines(path, name=str, target=str, refused=str)
    if path.exists() and len(rows) != len(path.read_bytes().splitlines()):
        raise UserError(
            f"--out: {path} has lines that are no rows of `compile --all`, expected its file or a "
            "new one"
        )
    return rows


def survey_table(rows: Sequence[Mapping[str, JSON]]) -> str:
    """Returns the rows of a survey as a Markdown table.

    Args:
      rows: from `survey`.

    Example:
      print(survey_table(read_survey(Path("v5e.jsonl"))))
    """
    head = [*("config or variant", "target", "compiles", "memory", "forward", "backward")]
    return markdown_table([[*head, "kernels", "collectives", "at least"], *map(_cells, rows)])


def _cells(row: Mapping[str, JSON]) -> list[str]:
    cells = [row["name"], row["target"]]
    if row["refused"]:
        return [*cells, str(row["refused"]), *[""] * 6]
    launches, seconds = row["launches"], row["cost"]["seconds"]
    collectives = launches["collectives"]
    if launches["in_time_loops"]:
        collectives = f"{collectives}, {launches['in_time_loops']} in a time loop"
    return [
        *cells,
        f"{row['seconds']:.0f} s",
        f"{row['memory']['total'] / 2**20:,.0f} MiB" + ("" if fits(row) else " TOO LARGE"),
        *(f"{max(launches[side], default=0.0):.3g}" for side in ("forward", "backward")),
        "" if launches["total"] is None else f"{launches['total']:,.0f}",
        str(collectives),
        "" if seconds is None else _microseconds(seconds),
    ]


def _microseconds(seconds: float) -> str:
    number = 1e6 * seconds
    return f"{number:,.0f} µs" if number >= 100 else f"{number:.3g} µs"


def fits(row: Mapping[str, JSON]) -> bool:
    """Returns whether the program of a row compiles and the chip has room for it.

    Example:
      all(map(fits, read_survey(Path("v5e.jsonl"))))
    """
    return not row["refused"] and bool(row["memory"]["fits"])


def is_final(row: Mapping[str, JSON]) -> bool:
    """Returns whether a compiler has seen the program of a row; missing data may come later.

    Example:
      is_final({"name": "ptb", "target": "v5e-1", "refused": "no file ptb.train.txt"})  # False
    """
    return "compiles" in row


def survey(
    target: Target, devices: Sequence[jax.Device], data_dir: Path, done: Collection[str] = ()
) -> Iterator[dict[str, JSON]]:
    """Compiles one program after another.

    Args:
      target: the machine.
      devices: from `topologies.devices_of`.
      data_dir: the folder of data sets.
      done: names to leave out, such as those of an earlier, interrupted survey.

    Yields:
      A row for each: `name`, `target`, and the values of its program; or `name`, `target` and
      `refused`, if its data are missing or the hosts of the target cannot share its batch.

    Example:
      for row in survey(target, devices_of(target), folder):
          print(row["name"], row["refused"])
    """
    for name in survey_names():
        if name in done:
            continue
        try:
            spec = load_spec(name)
            dataset = spec.task.load(data_dir)
            program = run_program(spec, dataset, target)
        except UserError as error:
            yield {"name": name, "target": target.name, "refused": str(error)}
            continue
        reports = list(compile_programs([program], {spec.task: dataset}, target, devices))
        (values,) = as_json(reports, target)["programs"]
        yield {"name": name, "target": target.name, **values}
