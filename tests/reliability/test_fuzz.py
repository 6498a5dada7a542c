"""Fuzzing: files and settings of every kind give a value or one line, and never a traceback.

`python -m pytest -m slow tests/reliability/test_fuzz.py` is the long form; the number of examples
per target is LONG. `fuzz_atheris.py` does the same with libFuzzer.
"""

import json
from collections import Counter
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lstm_lab.config.load import load_spec
from lstm_lab.config.overrides import parse_overrides, take_overrides
from lstm_lab.config.parsing import field_types
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.config.user_code import load_task
from tests.reliability.targets import TARGETS, refusal

SHORT, LONG = 4, 20_000
# A folder of pytest is shared by all examples: each writes its file anew.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def options(count):
    """Returns the options of hypothesis: the quick tests read the same files each time."""
    return {
        "deadline": None,
        "suppress_health_check": SHARED,
        "database": None,
        "derandomize": count < LONG,
    }


# Pieces of the files that the readers know, and what usually breaks readers.
PIECES = [
    *["\n", "\r\n", "\r", "\t", " ", ",", ";", '"', "'", "#", "-", ":", "=", "{", "}", "[", "]"],
    *["\0", "\ufeff", "\u2028", "\u00a0", "\ud7ff", "0", "1", "-1", "1e400", "nan", "inf", "1_0"],
    *["null", "true", '"text"', '"label"', '"spec"', '"task"', '"name"', '"id"', '"seed"'],
    *["text", "label", "B-city", "I-city", "O", "<unk>", "-DOCSTART-", "# intent = a", "3-4"],
    *["9" * 5000, "[" * 2000, '{"a":' * 2000, "a" * 200_000, "@data", "春", "é", "e\u0301"],
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -1, 2**70, "", "lstm", "adding", "completed", "a/b", "..", "\0"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([
                *("id", "status", "spec", "task", "name", "seed", "model", "optim", "train"),
                *("runs", "cohorts", "study", "variant", "stage", "point", "result", "best"),
                *("valid", "test", "step", "steps", "host", "pid", "namespace", "reason", "trace"),
            ]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@st.composite
def damaged(draw, content):
    """A valid file with bytes that are changed, removed or put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "end", "repeat"]))
        if kind == "flip" and place < len(data):
            data[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[place : place + draw(st.integers(1, 9))]
        elif kind == "insert":
            piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
            data[place:place] = piece.encode() if isinstance(piece, str) else piece
        elif kind == "end":
            del data[place:]
        else:
            data[place:place] = data[: draw(st.integers(0, 64))]
    return bytes(data)


# Inputs that raised something else than UserError, or a message of several lines, before they were
# fixed. Others are examples of `read_examples`.
FOUND = [
    ("recordings", TARGETS["recordings"].example[:20]),
    ("recordings", TARGETS["recordings"].example.replace(b"fmt ", b"fmtx")),
    ("recordings", TARGETS["recordings"].example.replace(b"fmt \x10\0", b"fmt \x10d")),
    ("recordings_tar", b"no archive"),
    ("idx_gz", TARGETS["idx_gz"].example[:10] + b"\xff" * 9),
    ("damaged_gz", TARGETS["damaged_gz"].example[:10] + b"\xff" * 9),
    ("publisher_text", b"\xff"),
    ("publisher_reviews", b"\xff"),
    ("publisher_series", b"\xff"),
]
FOUND_SETTINGS = [
    {"task.name": [[]]},
    {"task.name": "a" * 300 + ":b"},
    {"model.vectors": "a" * 300},
]


def files(target):
    """Contents of files for a target."""
    texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
    values = JSON_VALUES.map(json.dumps)
    changed = st.tuples(JSON_VALUES, st.sampled_from(["\n", ""])).map(
        lambda pair: json.dumps(pair[0]) + pair[1]
    )
    return st.one_of(
        damaged(target.example),
        texts.map(lambda text: text.encode("utf-8", "replace")),
        values.map(str.encode),
        changed.map(str.encode),
        st.binary(max_size=40),
    )


def read_examples(name, folder, count):
    target = TARGETS[name]

    @settings(max_examples=count, **options(count))
    @given(files(target))
    @example(target.example)
    @example(b"")
    @example(b"[" * 100_000)
    @example(b"9" * 5000)
    @example(b'{"text": ' + b"9" * 5000 + b', "label": 1}')
    @example(b"\xff" * 30)
    @example(b"a" * 200_000)
    def read(content):
        target(folder, content)

    read()


def test_the_examples_are_valid_files(tmp_path):
    """Else the fuzzers would only see the first check of a reader."""
    for name, target in TARGETS.items():
        path = tmp_path / name / target.name
        path.parent.mkdir(parents=True)
        path.write_bytes(target.pack(target.example))
        assert refusal(lambda path=path, target=target: target.read(path)) == "", name


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_what_the_fuzzers_found_is_one_line(name, content, tmp_path):
    TARGETS[name](tmp_path, content)


@pytest.mark.parametrize("values", FOUND_SETTINGS, ids=str)
def test_the_settings_that_the_fuzzers_found_are_one_line(values):
    assert "\n" not in refusal(lambda: load_spec(config_of("adding"), values))


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_gives_a_value_or_one_line(name, tmp_path):
    read_examples(name, tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_gives_a_value_or_one_line_for_many_files(name, tmp_path):
    read_examples(name, tmp_path, LONG)


# ---- settings

TASKS = [
    "adding",
    "copy_memory",
    "parity",
    "jsb",
    "language",
    "text",
    "tags",
    "translation",
    "mnist",
]
WRONG = [
    *(None, True, False, 0, 1, -1, 2, 3, 10**6, 2**70, 10**400, 0.0, -0.0, 0.5, 1e-320, 1e308),
    *(
        float("nan"),
        float("inf"),
        "",
        "lstm",
        "none",
        "adam",
        "\0",
        "a" * 300,
        "é",
        b"x",
        1j,
        "a.py:B",
        "a" * 300 + ":b",
        "\0:b",
        "mine.py:",
    ),
    *((), (1,), [2, 3], ("a",), [[]], {}, {"a": 1}, {1: 2}, object, {3}, range(3)),
]
ANY = st.sampled_from(WRONG) | st.integers() | st.floats() | st.text(max_size=4)


def paths_of(task):
    """Returns the dotted settings of a task's run, and some that do not exist."""
    sections = {"task": field_types(load_task(task))}
    sections |= {name: field_types(cls) for name, cls in SECTIONS.items()}
    dotted = [f"{section}.{name}" for section, names in sections.items() for name in names]
    wrong = ["", ".", "a.b.c", "model", "task", "model.", ".lr", "optim.hidden", "task.name", "x"]
    return [*dotted, *field_types(RunSpec), *wrong]


def fitting(kind):
    """Values of a setting's type, most of them in its range."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_args(kind):
        return st.one_of(*(fitting(inner) for inner in get_args(kind)))
    numbers = {int: st.integers(0, 9), float: st.floats(0, 1), bool: st.booleans()}
    return numbers.get(kind, st.just(None))


def type_of(task, path):
    """Returns the type of a setting, or None for one that does not exist."""
    section, _, name = path.rpartition(".")
    classes = {**SECTIONS, "task": load_task(task), "": RunSpec}
    return field_types(classes[section]).get(name) if section in classes else None


@st.composite
def changed_settings(draw):
    """A task and values of its settings: each has its type three times out of four."""
    task = draw(st.sampled_from(TASKS))
    paths = draw(st.lists(st.sampled_from(paths_of(task)), min_size=1, max_size=3, unique=True))
    right = st.sampled_from([True, True, True, False])
    return task, {
        path: draw(fitting(type_of(task, path)) if draw(right) else ANY) for path in paths
    }


def config_of(task):
    files = {"train_source": "a.en", "train_target": "a.de"} if task == "translation" else {}
    if task in ("language", "text", "tags"):
        files = {"train": "a.txt"}
    return {"task": {"name": task, **files}, "train": {"steps": 1}}


def load_examples(count):
    """Loads configs with changed settings; returns how many were accepted and refused."""
    outcomes = Counter()

    @settings(max_examples=count, **options(count))
    @given(changed_settings())
    def load(drawn):
        task, values = drawn
        reason = refusal(lambda: load_spec(config_of(task), values))
        assert "\n" not in reason
        outcomes[reason != ""] += 1

    load()
    return outcomes[False], outcomes[True]


def parse_examples(count):
    # The names have no line ends: the command line joins the lines of a message.
    names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8)

    @settings(max_examples=count, **options(count))
    @given(st.data())
    def parse(data):
        task = data.draw(st.sampled_from(TASKS))
        path = data.draw(st.sampled_from(paths_of(task)) | names)
        value = data.draw(fitting(type_of(task, path)).map(str) | ANY.map(str))
        _, taken = take_overrides([f"--config.{path}={value}"])
        config = config_of(task)
        assert "\n" not in refusal(lambda: load_spec(config, parse_overrides(config, taken)))

    parse()


def test_settings_give_a_spec_or_one_line():
    accepted, refused = load_examples(150)
    assert min(accepted, refused) > 20  # both ways are tested
    parse_examples(100)


@pytest.mark.slow
def test_many_settings_give_a_spec_or_one_line():
    load_examples(LONG)
    parse_examples(LONG)
