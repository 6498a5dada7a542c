"""Every cell of the catalogue has an entry for every target; options without effect are refused."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.interop import targets
from lstm_lab.interop.targets import (
    TARGETS,
    ExportOptions,
    Form,
    check_options,
    export_options,
    find_target,
    forms,
)
from lstm_lab.utils.errors import UserError


def test_every_target_that_is_offered_is_written_and_the_other_way_round():
    tree = ast.parse(inspect.getsource(targets.find_target))
    cases = [node.pattern for node in ast.walk(tree) if isinstance(node, ast.match_case)]
    names = {case.value.value for case in cases if isinstance(case, ast.MatchValue)}
    assert names == set(TARGETS)


@pytest.mark.parametrize("cell", CATALOGUE)
def test_no_cell_of_the_catalogue_has_an_unknown_entry(cell):
    found = forms(CATALOGUE[cell].spec)
    assert list(found) == list(TARGETS)
    for name, entry in found.items():
        assert entry in get_args(Form) or entry.startswith("refused: "), (name, entry)
        # A reason names the cell.
        assert not entry.startswith("refused: ") or cell in entry, (name, entry)


def test_targets_that_compute_nothing_themselves_take_every_cell():
    for variant in CATALOGUE.values():
        found = forms(variant.spec)
        assert (found["safetensors"], found["stablehlo"]) == ("weights", "program")


def test_an_unknown_target_gets_the_nearest_one():
    with pytest.raises(UserError, match="--to: got 'stabelhlo'; did you mean 'stablehlo'"):
        find_target("stabelhlo")


@pytest.mark.parametrize(
    "options", [ExportOptions(opset=17), ExportOptions(runtime=Path("ort"))], ids=["opset", "web"]
)
def test_an_option_without_effect_is_refused(options):
    (name,) = [name for name, value in options._asdict().items() if value is not None]
    with pytest.raises(UserError, match=f"--{name}: it has no effect with --to=stablehlo"):
        check_options("stablehlo", options)
    check_options("web", options)


def test_options_of_a_notebook():
    assert export_options({"opset": 17, "runtime": "ort"}) == ExportOptions(17, Path("ort"))
    with pytest.raises(UserError, match="export: option: got 'opsets'; did you mean 'opset'"):
        export_options({"opsets": 17})
