"""The folder of a small study."""

import pytest

from tests.helpers.report import write_study


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path)
