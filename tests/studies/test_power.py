"""The power of a study: its example, its deviation from earlier results, and the dry run."""

import doctest

import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.statistics.power import detectable_effect, runs_needed, welch_power
from lstm_lab.studies import Sequential, Study, grid, zipped
from lstm_lab.studies.archive import pack
from lstm_lab.studies.dry_run import preview
from lstm_lab.studies.load import load_study
from lstm_lab.studies.power import deviation_of_runs
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.paths import ROOT
from tests.helpers.report import write_example_study, write_study
from tests.helpers.sweep import TUNED, tiny_study

FOUR = (grid("model.cell", ("lstm", "rnn", "gru", "np")),)


def test_the_example_holds():
    names = {"Study": Study, "grid": grid}
    (example,) = doctest.DocTestFinder().find(Study.power, "power", globs=names)
    assert doctest.DocTestRunner().run(example) == (0, 3)


def test_every_comparison_has_holms_smallest_level():
    power = tiny_study(axes=FOUR).power(0.01, 0.03)
    assert (power.seeds, power.comparisons) == (3, 3)
    assert power.found == welch_power(3.0, 3, 0.05 / 3)
    assert power.needed == runs_needed(3.0, 0.05 / 3)
    assert power.detectable == pytest.approx(0.01 * detectable_effect(3, 0.05 / 3))
    assert "at 0.05 / 3" in repr(power)


def test_the_rope_is_the_difference_that_matters():
    assert tiny_study(rope=0.02).power(0.01) == tiny_study().power(0.01, 0.02)
    power = tiny_study().power(0.01)
    assert (power.difference, power.found, power.needed) == (None, None, None)
    assert repr(power).startswith("3 seeds find a difference of 0.0351 with 0.8.\n(Standard")


def test_the_deviation_is_pooled_over_the_variants_of_an_earlier_study(tmp_path):
    scores = {"lstm": [0.1, 0.2, 0.4], "rnn": [0.5, 0.6], "gru": [0.3]}
    folder = write_study(tmp_path / "s", "earlier", scores)
    squares = sum(np.sum((np.array(v) - np.mean(v)) ** 2) for v in scores.values())
    assert deviation_of_runs(folder, "mse") == pytest.approx(np.sqrt(squares / 3))
    assert tiny_study().power(str(folder)).std == pytest.approx(np.sqrt(squares / 3))
    pack(folder, tmp_path / "archive.gz")
    assert deviation_of_runs(tmp_path / "archive.gz", "mse") == deviation_of_runs(folder, "mse")


def test_the_deviation_is_that_of_the_metric_that_ranks(tmp_path):
    folder = write_study(tmp_path / "s", "earlier", {"lstm": [0.1, 0.2], "rnn": [0.5, 0.6]})
    for number, path in enumerate(sorted(folder.glob("runs/*/result.json"))):
        result = read_json(path)
        write_json(path, {**result, "test": {**result["test"], "mae": 10.0 * number}})
    spread = deviation_of_runs(folder, "mae")
    assert spread > 1.0
    assert tiny_study(test_metric="mae").power(folder).std == spread


def test_the_published_counters_have_the_deviation_of_their_final_metric():
    archive = ROOT / "experiments" / "results" / "counters" / "runs.jsonl.gz"
    assert load_study("counters").power(archive, 20).std == pytest.approx(24.2, abs=0.05)


def test_the_level_is_that_of_the_looks():
    looks = tiny_study(sequential=Sequential(first=2, step=1, alpha=0.01))
    assert looks.power(1.0) == tiny_study().power(1.0, alpha=0.01)
    assert looks.power(1.0, alpha=0.05) == tiny_study().power(1.0)


def test_diverged_runs_have_no_deviation(tmp_path):
    write_example_study(tmp_path)
    two_of_five = deviation_of_runs(tmp_path, "accuracy")
    assert two_of_five == pytest.approx(np.sqrt((2.8e-4 + 2.8e-4 + 5e-3) / (4 + 4 + 1)))


def test_a_wrong_request_is_one_line(tmp_path):
    for options, message in (
        ({"std": 0.0}, "power: std: got 0.0, expected more than 0"),
        ({"std": 1.0, "difference": 0.0}, "power: difference: got 0.0, expected more than 0"),
        ({"std": 1.0, "alpha": 1.0}, "power: alpha: got 1.0"),
        ({"std": 1.0, "power": 0.05}, "power: power: got 0.05, expected more than alpha"),
        ({"std": tmp_path / "nothing"}, "std: .*nothing is no archive of `lstm-lab pack`"),
        ({"std": write_study(tmp_path / "s", "s", {"a": [1.0]})}, "has no two runs of one variant"),
        (
            {"std": write_study(tmp_path / "t", "t", {"a": [0.1] * 3})},
            "std: got 0.0, expected more",
        ),
    ):
        with pytest.raises(UserError, match=message):
            tiny_study().power(**options)
    for options in ({"baseline": None}, {"folds": 3}, {"axes": (), "baseline": ""}):
        with pytest.raises(UserError, match="another variant on its task and no folds"):
            tiny_study(**options).power(1.0)


def test_a_baseline_alone_on_its_task_is_compared_with_nothing(tmp_path):
    tasks = zipped({"task.length": (9, 20, 20), "model.cell": ("lstm", "gru", "rnn")})
    alone = tiny_study(axes=(tasks,), baseline="length=9 cell=lstm")
    assert alone.rivals == []
    with pytest.raises(UserError, match="another variant on its task"):
        alone.power(1.0)
    assert "standard deviations" not in preview(alone, tmp_path)
    assert tiny_study(axes=FOUR).rivals == ["rnn", "gru", "np"]


def test_a_dry_run_names_what_the_seeds_can_find(tmp_path):
    last = preview(tiny_study(**TUNED), tmp_path).splitlines()[-1]
    assert last.startswith(
        "3 seeds find a difference of 3.5 standard deviations from the baseline lstm"
    )
    lines = preview(tiny_study(), tmp_path, 0.01, 0.03).splitlines()
    assert lines[-2:] == repr(tiny_study().power(0.01, 0.03)).splitlines()
    assert "seeds find" not in preview(tiny_study(baseline=None), tmp_path)


STUDY_FILE = """
from tests.helpers.sweep import tiny_study


def get_study():
    return tiny_study()
"""


def test_the_command_line_takes_a_number_or_an_earlier_study(tmp_path, capsys):
    (tmp_path / "s.py").write_text(STUDY_FILE)
    command = ["sweep", str(tmp_path / "s.py"), "--dry-run", "--difference=0.1"]
    assert main([*command, "--std=0.05"]) == 0
    assert "6 seeds find 0.1 with 0.8. (Standard deviation 0.05" in capsys.readouterr().out
    earlier = write_study(tmp_path / "earlier", "earlier", {"lstm": [0.1, 0.2]})
    assert main([*command, f"--std={earlier}"]) == 0
    assert "(Standard deviation 0.0707" in capsys.readouterr().out
