"""Without a compiler everything works, with one notice."""

import pytest

from lstm_lab.recurrence.backends.native import compiler
from lstm_lab.training.devices import notice_missing_compiler
from tests.helpers.training import small_spec, train


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    for function in (compiler, notice_missing_compiler):
        function.cache_clear()
    yield
    for function in (compiler, notice_missing_compiler):
        function.cache_clear()


def test_a_missing_compiler_is_noticed_once_and_training_works(no_compiler, capsys, tmp_path):
    for _ in range(2):
        notice_missing_compiler()
    assert capsys.readouterr().err.count("no C++ compiler") == 1
    assert train([small_spec()], tmp_path).status == "completed"


def test_with_a_compiler_nothing_is_said(capsys):
    if compiler()[1] is not None:
        pytest.skip("this machine has no C++ compiler")
    notice_missing_compiler.cache_clear()
    notice_missing_compiler()
    assert capsys.readouterr().err == ""
