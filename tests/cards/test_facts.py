"""The facts of a card: the run, and the runs of its study with the same settings."""

import shutil

import pytest

from lstm_lab.cards.facts import read_facts
from lstm_lab.results.run_files import read_result
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json


def folders(study):
    """Returns the folders of the final runs, by seed."""
    runs = read_json(study / "study.json")["runs"]
    final = {row["seed"]: run for run, row in runs.items() if row["stage"] == "final"}
    return {seed: study / "runs" / final[seed] for seed in sorted(final)}


def test_the_group_of_a_run_has_its_seeds_and_not_the_tuning_runs(study):
    by_seed = folders(study)
    group = read_facts(by_seed[3]).group
    results = [read_result(folder) for folder in by_seed.values()]
    assert group.seeds == (3, 4, 5)
    assert sorted(group.scores["mse"]) == sorted(result["test"]["mse"] for result in results)
    assert (group.planned, group.trials, group.tuned) == (3, 1, ("optim.lr",))


def test_one_run_of_the_group_is_the_best_on_validation(study):
    by_seed = folders(study)
    valid = {s: read_result(f)["best"]["valid"]["mse"] for s, f in by_seed.items()}
    best = [seed for seed, folder in by_seed.items() if read_facts(folder).group.best]
    assert best == [min(valid, key=valid.get)]


def test_seeds_that_did_not_complete_are_counted(study):
    by_seed = folders(study)
    (by_seed[4] / "result.json").unlink()
    group = read_facts(by_seed[3]).group
    assert (group.seeds, group.planned, len(group.scores["mse"])) == ((3, 5), 3, 2)


def test_a_run_outside_a_study_has_no_group(run):
    assert read_facts(run).group is None


def test_a_run_that_a_study_does_not_plan_has_no_group(study, run):
    other = shutil.copytree(run, study / "runs" / "other")
    assert read_facts(other).group is None


@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_a_run_without_scores_has_no_card(run, name):
    (run / name).unlink()
    with pytest.raises(UserError, match=r"^(card|workdir): "):
        read_facts(run)


def test_the_folder_of_a_study_is_no_run(study):
    with pytest.raises(UserError, match=r"is a study; choose one of"):
        read_facts(study)


@pytest.mark.parametrize(
    ("cell", "task", "files"),
    [
        ("lstm", "adding", []),
        ("mine.py:lstm", "adding", ["cell.py"]),
        ("mine.py:lstm", "mine.py:adding", ["cell.py", "task.py"]),
    ],
)
def test_code_of_the_user_is_recognized(run, cell, task, files):
    head = read_json(run / "run.json")
    head["spec"]["model"]["cell"], head["spec"]["task"]["name"] = cell, task
    write_json(run / "run.json", head)
    facts = read_facts(run)
    assert facts.own_code == files
    assert (facts.cell, facts.data.task) == ("lstm", "adding")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("started", "x"),
        ("git", ["a"]),
        ("versions", "1"),
        ("seeds", 3),
        ("command", ["a", 1]),
        ("backend", {}),
        ("examples", {"test": "many"}),
    ],
)
def test_an_entry_of_another_type_is_named(entry, value, run):
    write_json(run / "run.json", {**read_json(run / "run.json"), entry: value})
    with pytest.raises(UserError, match=rf"^card: .*run\.json: {entry}: got .*, expected an? "):
        read_facts(run)
