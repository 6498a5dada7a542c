"""The collector of cyclic garbage is paused, and runs again afterwards."""

import gc

import pytest

from lstm_lab.utils.collector import collector_paused


def test_the_collector_rests_inside_and_runs_after_an_error():
    def read():
        with collector_paused():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        read()
    assert gc.isenabled()


def test_a_pause_inside_a_pause_does_not_end_it():
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
