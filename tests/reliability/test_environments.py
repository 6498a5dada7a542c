"""Unusual environments: the same results, or one line; `environments.py` has the list."""

import pytest

from tests.helpers.training import run_record
from tests.reliability.environments import ENVIRONMENTS, TOGETHER, Environment, outcome, start


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The results of the usual environment."""
    folder = tmp_path_factory.mktemp("usual")
    done = start(Environment(), folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_many_unusual_settings_at_once_are_no_obstacle(tmp_path):
    done = start(TOGETHER, tmp_path / "place")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    done.stdout.encode("ascii")
    assert run_record(tmp_path / "place" / "run")[0]["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_changes_no_bit_or_is_refused_in_one_line(name, usual, tmp_path):
    tmp_path.chmod(0o777)
    good, text = outcome(ENVIRONMENTS[name], tmp_path / "place", usual)
    assert good, text
