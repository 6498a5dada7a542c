"""A survey has every config and variant, leaves out what is done, and survives missing data."""

import jax
import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.compilation import survey as surveys
from lstm_lab.compilation.survey import survey, survey_names, survey_table
from lstm_lab.compilation.targets import find_target
from lstm_lab.utils.errors import UserError
from tests.helpers.paths import ROOT

TARGET = find_target("cpu")


def test_every_config_and_every_variant_is_there():
    names = set(survey_names())
    assert {f"adding:{name}" for name in CATALOGUE} <= names
    assert {
        p.stem for p in (ROOT / "configs").glob("*.py") if "def get_config" in p.read_text()
    } <= names


def test_missing_data_are_a_row_and_done_names_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(surveys, "survey_names", lambda: ["ptb", "adding:np", "adding:gru"])

    real = surveys.load_spec

    def load(name):
        if name == "ptb":
            raise UserError("data_dir: no file ptb.train.txt")
        return real(name)

    monkeypatch.setattr(surveys, "load_spec", load)
    rows = list(survey(TARGET, jax.local_devices(), tmp_path, done={"adding:gru"}))
    assert [(row["name"], row["target"]) for row in rows] == [("ptb", "cpu"), ("adding:np", "cpu")]
    assert "no file" in rows[0]["refused"]
    assert rows[1]["compiles"]
    head, _, missing, compiled = survey_table(rows).splitlines()
    assert head.count("|") == missing.count("|") == compiled.count("|")
    assert "no file" in missing
    assert "MiB" in compiled


def test_a_batch_that_hosts_cannot_share_is_a_row(monkeypatch, tmp_path):
    monkeypatch.setattr(surveys, "survey_names", lambda: ["adding:np"])
    (row,) = survey(find_target("v5e-16"), (), tmp_path)
    assert "train.batch_size: got 50, expected a multiple of 16" in row["refused"]
    assert not surveys.is_final(row)


@pytest.mark.parametrize("name", ["nothing"])
def test_an_unknown_name_is_not_hidden(monkeypatch, tmp_path, name):
    monkeypatch.setattr(surveys, "survey_names", lambda: [name])
    (row,) = survey(TARGET, jax.local_devices(), tmp_path)
    assert "config" in row["refused"]
