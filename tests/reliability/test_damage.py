"""A damaged file is repaired, or named in one line; `damage.py` says what is tried."""

import pytest

from tests.reliability import damage


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return damage.originals(tmp_path_factory.mktemp("originals"), ["run"])


# One of each kind of damage, on files for which no other test has it.
QUICK = [
    ("finished run", "metrics.jsonl", "a folder"),
    ("finished run", "preprocessing.json", "a dead link"),
    ("finished run", "result.json", "a link to itself"),
    ("interrupted run", ".lease/lease.0", "a folder"),
    ("interrupted run", "checkpoints/latest", "a bit changed"),
    ("interrupted run", "run.json", "digits"),
]


@pytest.mark.optimized
@pytest.mark.parametrize(("name", "file", "kind"), QUICK)
def test_a_damaged_run_is_repaired_or_named(name, file, kind, runs, tmp_path):
    folder = runs[name].folder
    path = folder / file
    if path.is_dir():
        path = max(path.rglob("ocdbt.process_0/d/*"))
    assert damage.try_case(runs[name], path.relative_to(folder), kind, tmp_path, ["status"]) == []


@pytest.mark.slow
def test_every_damage_to_every_file_is_repaired_or_named(tmp_path):
    wrong = {}
    kinds = damage.originals(tmp_path)
    (tmp_path / "scratch").mkdir()
    for name, path, kind in damage.cases(kinds):
        problems = damage.try_case(kinds[name], path, kind, tmp_path / "scratch")
        if problems:
            wrong[name, str(path), kind] = problems
    assert wrong == {}
