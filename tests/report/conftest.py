"""A study's folder for the tests of reports."""

import pytest

from tests.helpers.report import write_example_study


@pytest.fixture
def folder(tmp_path):
    write_example_study(tmp_path)
    return tmp_path
