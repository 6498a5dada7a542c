"""From the value of `--log` to loggers, and errors in one line."""

import importlib.util
from functools import partial

import pytest

from lstm_lab.training.loggers.choose import ChosenLoggers, chosen_loggers, find_loggers, logging_to
from lstm_lab.training.loggers.to_aim import Aim
from lstm_lab.training.loggers.to_wandb import Wandb
from lstm_lab.utils.errors import UserError
from tests.helpers.loggers import new_keeper

SOURCE = """
class Printer:
    def start(self, run):
        pass

    log = figure = end = start


printer = Printer()


class Half:
    def start(self, run):
        pass
"""


@pytest.fixture
def installed(monkeypatch):
    """Pretends that the optional packages are there; they belong to the tests of parity."""
    spec = importlib.util.spec_from_loader("x", None, origin="x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_names_files_and_classes_become_makers(installed, file):
    keeper = new_keeper()
    makers = find_loggers(["wandb,aim", f"{file}:Printer", keeper])
    assert list(makers) == ["wandb", "aim", "mine.py:Printer", keeper.__qualname__]
    assert isinstance(makers["wandb"](), Wandb)
    assert isinstance(makers["aim"](), Aim)
    assert type(makers["mine.py:Printer"]()).__name__ == "Printer"
    assert makers[keeper.__qualname__]() is not makers[keeper.__qualname__]()
    assert find_loggers(None) == find_loggers(()) == {}


def test_a_function_makes_loggers_and_one_object_serves_one_run(file):
    keeper = new_keeper()
    (maker,) = find_loggers(partial(keeper)).values()
    assert isinstance(maker(), keeper)
    mine = keeper()
    assert find_loggers(mine, several=False)["Keeper"]() is mine
    with pytest.raises(UserError, match=r"^log: Keeper is one object, expected its class: every"):
        find_loggers(mine, several=True)
    with pytest.raises(UserError, match="is one object"):
        find_loggers(f"{file}:printer")
    assert find_loggers(f"{file}:printer", several=False)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("wanbd", r"^log: got 'wanbd'; did you mean 'wandb'\? expected one of wandb, mlflow, aim,"),
        ("", r"^log: got '', expected one of wandb, mlflow, aim, FILE.py:NAME$"),
        (["aim", "aim"], r"^log: got aim twice, expected each logger once$"),
        (3, r"^log: int has no start\(\), expected start, log, figure, end$"),
        ("FILE:Printr", r"mine.py: got 'Printr'; did you mean 'Printer'\? expected one of Printer"),
        ("FILE:Half", r"Half has no log\(\), expected start, log, figure, end$"),
        ("nothing.py:Printer", r"^log: nothing.py does not exist$"),
        ("TensorBoard", r"^log: got 'TensorBoard'; TensorBoard is always written; leave it out$"),
        (
            "FILE",
            r"mine.py' without .* class, expected \S+mine.py:Printer or \S+mine.py:printer",
        ),
        ("EMPTY", r"empty.py' without the name of a class, expected .*empty.py:NAME$"),
        ("nothing.py", r"^log: nothing.py does not exist$"),
    ],
)
def test_a_wrong_logger_is_one_line(installed, file, log, message):
    empty = file.with_name("empty.py")
    empty.write_text("from lstm_lab import Logger\n")
    if isinstance(log, str):
        log = log.replace("FILE", str(file)).replace("EMPTY", str(empty))
    with pytest.raises(UserError, match=message) as error:
        find_loggers(log)
    assert "\n" not in str(error.value)


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    expected = r'^log: aim is not installed: pip install "lstm-lab\[loggers\]"$'
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=expected):
        find_loggers("aim")
    monkeypatch.undo()
    # A folder of that name next to a script: Python takes it for a package.
    (tmp_path / "aim").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UserError, match=expected):
        find_loggers("aim")


def test_loggers_are_chosen_inside_the_block_alone():
    keeper = new_keeper()
    with logging_to(keeper):
        assert list(chosen_loggers().makers.values()) == [keeper]
        with logging_to(None):
            assert chosen_loggers().makers == {}
        assert chosen_loggers().makers
    assert chosen_loggers().makers == {}


def test_an_error_in_a_users_file_names_its_line(tmp_path, capsys):
    file = tmp_path / "mine.py"
    source = SOURCE + "\n\nclass Wrong(Printer):\n    def log(self, step, values):\n        1 / 0\n"
    file.write_text(source)
    logger = find_loggers(f"{file}:Wrong")["mine.py:Wrong"]()
    chosen = ChosenLoggers()
    with pytest.raises(ZeroDivisionError) as error:
        logger.log(1, {})
    chosen.switch_off("mine", error.value)
    assert chosen.off == {"mine"}
    line = f"ZeroDivisionError: division by zero ({file} line {len(source.splitlines())})"
    assert capsys.readouterr().err.strip().endswith(line)
