"""All fifteen problems: every question is solved again in plain Python; lengths and symbols."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats

from lstm_lab.config.parsing import build_spec
from lstm_lab.inference.load import load_run
from lstm_lab.inference.predict import predict_lines
from lstm_lab.report.render.run_report import build_run_report
from lstm_lab.results.run_files import read_result
from lstm_lab.studies import Study, grid
from lstm_lab.studies.archive import pack
from lstm_lab.studies.run import launch
from lstm_lab.tasks import IGNORE_INDEX, Chomsky
from lstm_lab.tasks.datasets.chomsky import PROBLEMS
from lstm_lab.training.loop import StopRequest, train_run
from lstm_lab.utils.errors import UserError
from tests.helpers import chomsky as solvers

NOWHERE = Path("nowhere")
# Long enough for numbers of more bits than a machine word has.
LONGEST = 150


def rows_of(split):
    """Returns the question and the answer of each example, and checks where they are."""
    for x, y, end in zip(*map(np.asarray, (split.x, split.y, split.lengths)), strict=True):
        blank = x[end - 1]
        n = int((x[:end] != blank).sum())
        assert (x[n:end] == blank).all()
        assert (y[:n] == IGNORE_INDEX).all()
        assert (y[end:] == IGNORE_INDEX).all()
        yield x[:n].tolist(), y[n:end].tolist()


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_answer_is_that_of_plain_python(name):
    task = Chomsky(name, length=40, test_length=LONGEST, test_per_length=2, valid_size=1500)
    splits, problem = task.load(NOWHERE).splits, PROBLEMS[name]
    solve = getattr(solvers, name)
    for split, asked in (("valid", None), ("test", task.test_lengths.tolist())):
        rows = list(rows_of(splits[split]))
        for k, (question, answer) in enumerate(rows):
            n = len(question) if asked is None else asked[k]
            expected = solve(list(question), n)
            assert len(answer) == problem.answer_length(len(question))
            # What follows the end of an answer does not count.
            assert answer[: len(expected)] == expected
            assert set(answer[len(expected) :]) <= {IGNORE_INDEX}
            assert max(question) < problem.symbols
            assert max(answer) < problem.answers
        if asked is None:
            odd = name == "modular_arithmetic"
            assert {len(question) for question, _ in rows} == set(range(1, 41, 1 + odd))


def counts_of(values, size):
    return np.bincount(np.asarray(values), minlength=size)


def assert_uniform(values, size):
    """A chi-square test at a fixed seed: it fails by chance for one seed of a thousand."""
    assert scipy.stats.chisquare(counts_of(values, size)).pvalue > 1e-3


def drawn(name, length, count=4000):
    keys = jax.random.split(jax.random.key(5), count)
    split = jax.device_get(jax.jit(jax.vmap(Chomsky(name, length).sample))(keys))
    return list(rows_of(split))


@pytest.mark.parametrize("name", ["parity_check", "cycle_navigation", "bucket_sort"])
def test_lengths_and_symbols_are_uniform(name):
    rows = drawn(name, 12)
    assert_uniform([len(question) - 1 for question, _ in rows], 12)
    symbols = PROBLEMS[name].symbols
    assert_uniform([symbol for question, _ in rows for symbol in question], symbols)
    last = [question[-1] for question, _ in rows if len(question) == 12]
    assert_uniform(last, symbols)


def test_digits_and_operators_of_arithmetic_are_uniform():
    rows = drawn("modular_arithmetic", 9)
    assert_uniform([symbol for question, _ in rows for symbol in question[::2]], 5)
    assert_uniform([symbol - 5 for question, _ in rows for symbol in question[1::2]], 3)


def test_stacks_and_first_numbers_have_all_lengths_alike():
    stacks = [question for question, _ in drawn("stack_manipulation", 9) if len(question) == 9]
    assert_uniform([sum(symbol < 2 for symbol in question) - 1 for question in stacks], 8)
    assert_uniform([symbol - 2 for q in stacks for symbol in q if symbol >= 2], 3)
    sums = [question for question, _ in drawn("binary_addition", 9) if len(question) == 9]
    assert_uniform([question.index(2) - 1 for question in sums], 7)


def test_the_missing_symbol_may_be_anywhere():
    rows = [question for question, _ in drawn("missing_duplicate", 8) if len(question) == 8]
    assert_uniform([question.index(2) for question in rows], 8)
    assert_uniform([s for question in rows for s in question if s < 2], 2)


def test_the_settings_name_all_problems():
    for name in PROBLEMS:
        config = {"task": {"name": "chomsky", "problem": name}, "train": {"steps": 1}}
        assert build_spec(config).task.problem == name
    with pytest.raises(UserError, match="did you mean 'odds_first'"):
        build_spec({"task": {"name": "chomsky", "problem": "odd_first"}, "train": {"steps": 1}})
    with pytest.raises(ValueError, match="test_length: got 40, expected more than length=40"):
        Chomsky(test_length=40)


def test_the_same_options_give_the_same_splits():
    first, second = (Chomsky(length=4, test_length=6, valid_size=9).load(NOWHERE) for _ in "ab")
    jax.tree.map(np.testing.assert_array_equal, first.splits, second.splits)
    other = Chomsky(length=4, test_length=6, valid_size=9, split_seed=1).load(NOWHERE)
    assert (other.splits["test"].x != first.splits["test"].x).any()


def test_the_score_gives_every_length_above_the_trained_ones_the_same_weight():
    task = Chomsky("reverse_string", length=3, test_length=9, test_per_length=5)
    test = task.load(NOWHERE).splits["test"]
    rng = np.random.default_rng(0)
    guess = np.where(rng.random(test.y.shape) < 0.7, test.y, 1 - test.y)
    logits = np.eye(2)[np.where(test.y == IGNORE_INDEX, 0, guess)]
    by_length = {n: [] for n in range(1, 10)}
    for k, n in enumerate(task.test_lengths):
        answers = slice(n, 2 * n)
        by_length[n] += (guess[k, answers] == test.y[k, answers]).tolist()
    expected = [np.mean(right) for right in by_length.values()]
    curve = task.final_curves(logits, test, {})["accuracy_by_length"]
    assert curve.x == tuple(range(1, 10))
    assert curve.mark == 3
    np.testing.assert_allclose(curve.y, expected)
    score = task.final_metrics(logits, test, {})["long_accuracy"]
    np.testing.assert_allclose(score, np.mean(expected[3:]))
    assert abs(score - np.mean(np.concatenate([by_length[n] for n in range(4, 10)]))) > 1e-3


CONFIG = {
    "task": {
        "name": "chomsky",
        "problem": "reverse_string",
        **{"length": 3, "test_length": 5, "test_per_length": 2, "valid_size": 8},
    },
    "model": {"hidden": 4},
    "train": {"steps": 2, "eval_every": 1, "batch_size": 4},
}


def test_a_run_records_its_curve_and_answers_questions(tmp_path):
    spec = build_spec(CONFIG)
    train_run(spec, tmp_path, NOWHERE, stop=StopRequest())
    result = read_result(tmp_path)
    curve = result["curves"]["accuracy_by_length"]
    assert (curve["x"], curve["mark"]) == ([1, 2, 3, 4, 5], 3)
    assert result["test"]["long_accuracy"] == pytest.approx(np.mean(curve["y"][3:]))
    (line,) = predict_lines(load_run(tmp_path), ["0 1 1"])
    assert len(line["labels"]) == 3
    with pytest.raises(UserError, match="got 2, the blank"):
        list(predict_lines(load_run(tmp_path), ["0 1 2"]))
    build_run_report(tmp_path)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "accuracy_by_length.svg" in text
    assert (tmp_path / "report" / "accuracy_by_length.png").exists()


def test_an_archive_keeps_the_curves(tmp_path):
    study = Study("s", CONFIG, (grid("model.cell", ("rnn",)),), (0,), test_metric="long_accuracy")
    launch(study, tmp_path / "a", NOWHERE, StopRequest())
    pack(tmp_path / "a", tmp_path / "runs.jsonl.gz")
    launch(study, tmp_path / "b", NOWHERE, StopRequest(), results=tmp_path / "runs.jsonl.gz")
    first, second = (next((tmp_path / f).glob("runs/*/result.json")) for f in "ab")
    assert json.loads(first.read_text())["curves"] == json.loads(second.read_text())["curves"]
    with pytest.raises(UserError, match="test_metric: .*long_acuracy"):
        launch(
            Study("s", CONFIG, (), (0,), test_metric="long_acuracy"),
            tmp_path / "c",
            NOWHERE,
            StopRequest(),
        )
