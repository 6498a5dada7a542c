"""The generated reference: settings, files of a run, columns of results.csv."""

from __future__ import annotations

import re

from docs.generate.markdown import ROOT, code, escape, page, section, table
from docs.generate.tasks import fields_table
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.report.render.results_table import COLUMNS
from lstm_lab.utils.docstrings import summary

_FILE = re.compile(r"((?:WORKDIR|STUDY)/.*?)(?:  +(.*))?")


def pages() -> dict[str, str]:
    """Returns the pages of reference/, except for the command line."""
    return {
        "reference/settings.md": _settings(),
        "reference/files.md": _files(),
        "reference/columns.md": _columns(),
    }


def _settings() -> str:
    parts = [
        section(name, f"{escape(summary(cls))}.", fields_table(cls, name))
        for name, cls in SECTIONS.items()
    ]
    return page(
        "Settings",
        "Every setting of a run. On the command line a setting is written "
        "`--config.PATH=VALUE`, such as `--config.optim.lr=0.01`. The options of a task are on its "
        "[page](../tasks/index.md).",
        *parts,
        section("Run", f"{escape(summary(RunSpec))}.", fields_table(RunSpec, "")),
    )


def files_of_a_run() -> list[tuple[str, str]]:
    """Returns the files that docs/design.md lists under `On disk`, with what they hold."""
    text = (ROOT / "docs" / "design.md").read_text()
    block = text.partition("\n## On disk\n")[2].partition("```\n")[2].partition("```")[0]
    matches = [_FILE.fullmatch(line) for line in block.strip().split("\n")]
    return [(match[1], match[2] or "") for match in matches if match]


def _files() -> str:
    rows = [[code(path), escape(meaning)] for path, meaning in files_of_a_run()]
    return page(
        "Files",
        "The files of a run, in its `--workdir`, and those of a study. "
        "[Design](../../design.md#on-disk) says when they are written.",
        table(["file", "what it holds"], rows),
    )


def _columns() -> str:
    rows = [[code(name), escape(meaning)] for name, meaning in COLUMNS.items()]
    return page(
        "Columns of results.csv",
        "A report writes one row per run into `report/results.csv`, and the same into "
        "`results.parquet` if pyarrow is installed.",
        table(["column", "meaning"], rows),
    )
