"""Words and files after the colon of a config."""

import pytest

from lstm_lab.config.load import load_spec, read_config
from lstm_lab.config.shorthand import split_options, take_files
from lstm_lab.utils.errors import UserError
from tests.helpers.paths import ROOT
from tests.helpers.settings import CELL


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("a.csv", {"train": "a.csv"}),
        ("a.csv,gru,b.csv", {"train": "a.csv", "test": "b.csv"}),
        ("a.csv,b.csv,dir/c", {"train": "a.csv", "valid": "b.csv", "test": "dir/c"}),
    ],
)
def test_files_after_the_colon_are_the_splits(words, files):
    found, rest = take_files(words)
    assert split_options(found, ("train", "valid", "test")) == files
    assert rest in ("", "gru")
    with pytest.raises(UserError, match=r"got 4 files .*expected TRAIN, TRAIN,TEST or TRAIN,VALID"):
        split_options(["a", "b", "c", "d"], ("train", "valid", "test"))


@pytest.mark.parametrize("name", ["imdb", "credit", "heartbeats", "series", "characters", "tags"])
def test_a_config_leaves_reading_to_the_task(name):
    # The files do not exist: a setting of the command line may name others.
    task = read_config(f"{ROOT / 'configs' / name}.py:a.csv,b.csv")["task"]
    assert "b.csv" in task.values()
    assert task["test"] == "b.csv"
    assert not {"labels", "sha256", "inputs_of", "vocabulary"} & set(task)


def test_a_word_of_a_config_may_be_a_cell_of_a_file(tmp_path):
    path = tmp_path / "cells.py"
    path.write_text(CELL)
    spec = load_spec(f"adding:{path}:mine,stacked")
    assert spec == load_spec("adding:stacked", {"model.cell": f"{path}:mine"})
    assert take_files(f"a.csv,{path}:mine,gru") == (["a.csv"], f"{path}:mine,gru")


def test_two_cells_among_the_words_are_refused_with_the_command_that_compares_them(tmp_path):
    both = r"got two variants, lstm and gru, expected one; `lstm-lab compare gru --against=lstm`"
    with pytest.raises(UserError, match=both):
        load_spec("adding:lstm,stacked,gru")
    path = tmp_path / "cells.py"
    path.write_text(CELL)
    with pytest.raises(UserError, match="got two variants, .*cells.py:mine and gru"):
        load_spec(f"adding:{path}:mine,gru")
    assert load_spec("adding:gru,gru") == load_spec("adding:gru")
