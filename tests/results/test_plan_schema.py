"""Whatever stands in study.json: one line, and no path outside the study's folder."""

import copy
import gzip
import json
from contextlib import suppress
from typing import get_args

import pytest

from lstm_lab.report.runs import read_study
from lstm_lab.results.plan_schema import CLAIMS, damage
from lstm_lab.results.study_file import cohort_folder, read_plan, run_folder
from lstm_lab.studies import (
    Best,
    Claim,
    Equivalent,
    LogUniform,
    Matters,
    Reference,
    Reproduces,
    Scores,
    Trials,
    Tuning,
)
from lstm_lab.studies.archive import unpack
from lstm_lab.studies.claims import AnyClaim
from lstm_lab.studies.expand import tuning_runs
from lstm_lab.studies.failures import FailureLog
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.run import launch
from lstm_lab.studies.status import describe
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.sweep import pool, tiny_study

BAD_IDS = ["../../victim", "..", ".", "", "/etc", "a/b", "a\\b", "a\0b", "a" * 65, "é", "ab\n"]


CLAIMS_OF_EVERY_KIND = (
    Claim(better="lstm", worse="rnn"),
    Equivalent("lstm", "rnn", margin=0.1),
    Best(0.1, 0.05, "a paper"),
    Matters("optim.lr", at_least=0.5),
    Scores("lstm", "mse", at_most=0.1),
    Reproduces("lstm", "mse", 0.1, 0.05, "a paper"),
)


def planned(folder):
    """Writes a planned study with tuning, claims and a reference; returns its declaration."""
    study = tiny_study(
        seeds=(10,),
        tuning=Tuning(trials=Trials(2, {"optim.lr": LogUniform(1e-3, 1e-1)})),
        claims=CLAIMS_OF_EVERY_KIND,
        references=(Reference("paper", 0.1, "a paper", variant="rnn"),),
    )
    StudyFolder(folder, study).plan_runs(tuning_runs(study), pool(1), lambda spec: 0.0)
    return study


def places(data, path=()):
    """Returns the path of every value of nested JSON."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield (*path, key)
        # The settings of the base are compared, not read.
        if isinstance(value, (dict, list)) and key != "base":
            yield from places(value, (*path, key))


def changed(data, path, *values):
    """Returns a copy with another value at a path, or without it."""
    data = copy.deepcopy(data)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if values:
        inner[path[-1]] = values[0]
    else:
        del inner[path[-1]]
    return data


def test_any_value_of_a_plan_may_be_replaced_or_missing(tmp_path):
    """Every reader either works or says in one line what is wrong."""
    study = planned(tmp_path)
    plan = read_plan(tmp_path)
    assert damage(plan) is None
    deep = json.loads("[" * 200 + "]" * 200)
    counts = {"accepted": 0, "refused": 0}
    for path in places(plan):
        values = ([], 7, {}, None, "\0", [[]], {"a": {}}, -1, deep)
        for broken in (changed(plan, path), *(changed(plan, path, value) for value in values)):
            wrong = damage(broken)
            counts["accepted" if wrong is None else "refused"] += 1
            if wrong is not None:
                assert "\n" not in wrong
                continue
            write_json(tmp_path / "study.json", broken)
            with suppress(UserError):
                describe(tmp_path)
                read_study(tmp_path)
                StudyFolder(tmp_path, study)
    assert min(counts.values()) > 50


@pytest.mark.parametrize("name", BAD_IDS)
def test_an_id_never_leads_out_of_the_study(tmp_path, name):
    folder = tmp_path / "a" / "study"
    study = planned(folder)
    victims = [tmp_path / "victim" / "checkpoints", tmp_path / "a" / "victim" / "checkpoints"]
    for victim in victims:
        victim.mkdir(parents=True)
    for of_id in (run_folder, cohort_folder):
        with pytest.raises(UserError, match="expected letters and digits"):
            of_id(folder, name)
    plan = read_json(folder / "study.json")
    for table in ("runs", "cohorts"):
        broken = copy.deepcopy(plan)
        broken[table][name] = broken[table].pop(next(iter(broken[table])))
        write_json(folder / "study.json", broken)
        before = (folder / "study.json").read_bytes()
        for use in (
            lambda: launch(study, folder, tmp_path, StopRequest()),
            lambda: describe(folder),
            lambda: read_study(folder),
        ):
            with pytest.raises(UserError, match=rf"{table}: got .*expected an id"):
                use()
        assert (folder / "study.json").read_bytes() == before
    assert all(victim.is_dir() for victim in victims)


ROW = b'{"variant": "lstm", "stage": "final", "point": {}, "seed": 1, "result": {}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        *(gzip.compress(c, mtime=0) for c in (b"{", b"[" * 100_000, b"[]", b"7", b"{}", ROW)),
        gzip.compress(b"{}" * 50, mtime=0)[:-12],
    ],
)
def test_another_file_is_no_archive(tmp_path, content):
    planned(tmp_path)
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(UserError, match=r"^--results: .*(no archive|is no result)[^\n]*$"):
        unpack(tmp_path / "archive", tmp_path, {})
    with pytest.raises(UserError, match="no archive"):
        unpack(tmp_path / "missing", tmp_path, {})


def test_a_part_of_a_line_does_not_hide_later_failures(tmp_path):
    log = FailureLog(tmp_path)
    log.add("failed", "once")
    with log.path.open("a") as file:
        file.write('{"status": "fai')  # by a killed process
    log.add("unheard of", "of another version")
    log.add("failed", "twice")
    assert [row["reason"] for row in log.rows()] == ["once", "of another version", "twice"]
    assert log.exhausted()


def test_claims_of_every_kind_can_be_read(tmp_path):
    planned(tmp_path)
    kinds = {claim["kind"] for claim in read_plan(tmp_path)["study"]["claims"]}
    assert kinds == {kind.kind for kind in get_args(AnyClaim)} == set(CLAIMS)
