"""`lstm-lab predict` reads pipes, standard input and files as training reads its files."""

import gzip
import io
import json
import os
import threading
from types import SimpleNamespace

import pytest

from lstm_lab.cli import main
from tests.helpers.training import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of a run of texts and of a run of a series."""
    from lstm_lab.config.parsing import build_spec

    folder = tmp_path_factory.mktemp("runs")
    texts = [f"a {word} film,{k % 2}" for k, word in enumerate(["good", "dull"] * 10)]
    (folder / "a.csv").write_text("\n".join(["text,label", *texts]) + "\n")
    rows = [f"d{k},{k % 5},{k % 7}" for k in range(60)]
    (folder / "s.csv").write_text("\n".join(["when,temp,load", *rows]) + "\n")
    settings = {"train": {"steps": 1, "batch_size": 4, "eval_every": 1}}
    for name, task in (
        ("text", {"name": "text", "train": str(folder / "a.csv")}),
        ("series", {"name": "series", "file": str(folder / "s.csv"), "context": 4}),
    ):
        model = {"hidden": 2, **({"embedding": 2} if name == "text" else {})}
        train([build_spec({"task": task, "model": model, **settings})], folder / name)
    return {name: folder / name / "0" for name in ("text", "series")}


def predict(capsys, folder, *flags):
    """Returns the exit code, the answers and the error of `lstm-lab predict`."""
    code = main(["predict", f"--workdir={folder}", *flags])
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


LINES = "a good film\na dull film\n"


def test_a_pipe_standard_input_and_a_file_give_the_same_answers(
    runs, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "in.txt"
    path.write_text(LINES)
    code, expected, _ = predict(capsys, runs["text"], f"--input={path}")
    assert (code, len(expected)) == (0, 2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(LINES,))
    writer.start()
    assert predict(capsys, runs["text"], f"--input={pipe}")[:2] == (0, expected)
    writer.join()
    for content in (LINES.encode(), LINES.encode("utf-16"), gzip.compress(LINES.encode(), mtime=0)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert predict(capsys, runs["text"])[:2] == (0, expected)
    table = tmp_path / "in.csv.gz"
    table.write_bytes(gzip.compress(b"text,label\na good film,1\na dull film,0\n", mtime=0))
    assert predict(capsys, runs["text"], f"--input={table}")[:2] == (0, expected)


def test_words_that_the_model_does_not_know_are_named(runs, monkeypatch, capsys):
    for content, note in (
        (LINES, ""),
        ("a good thing\n", ""),
        ("qwerty zxcv\n", "note: 2 of 2 words or characters are unknown to the model; 1 of the "),
        (f"{LINES}x\n", "note: 1 of 7 words or characters are unknown to the model; 1 of the "),
        ("a b c\n", "note: 2 of 3 words or characters are unknown to the model\n"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(content))
        code, answers, error = predict(capsys, runs["text"])
        assert (code, len(answers)) == (0, content.count("\n"))
        assert error.startswith(note) if note else error == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\nété,1\n".encode("latin-1"), "input line 2 is not UTF-8 (byte 0xe9)"),
        (b"a\nb\0c\n", "input line 2 is not a text: it has a NUL character"),
        (gzip.compress(LINES.encode(), mtime=0)[:-9], "input is a damaged .gz"),
        (None, "does not exist"),
    ],
)
def test_an_input_that_is_no_text_is_refused_in_one_line(runs, tmp_path, capsys, content, message):
    path = tmp_path / "in.txt"
    if content is not None:
        path.write_bytes(content)
    code, _, error = predict(capsys, runs["text"], f"--input={path}")
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_a_whole_file_is_forecast_from_every_row(runs, tmp_path, capsys):
    path = tmp_path / "new.csv"
    rows = [f"d{k},{k % 5},{k % 7}" for k in range(20)]
    path.write_text("\n".join(["when,temp,load", *rows]) + "\n")
    code, answers, _ = predict(capsys, runs["series"], f"--input={path}", "--rolling")
    assert code == 0
    assert [answer["after"] for answer in answers] == list(range(4, 21))
    for count in (4, 11, 20):
        path.write_text("\n".join(["when,temp,load", *rows[:count]]) + "\n")
        _, (one,), _ = predict(capsys, runs["series"], f"--input={path}")
        expected = one["forecast"]["load"]
        assert answers[count - 4]["forecast"]["load"] == pytest.approx(expected, abs=1e-5)
    flags = ("--rolling", "--format=csv")
    assert main(["predict", f"--workdir={runs['series']}", f"--input={path}", *flags]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header == "after,load +1"
    assert first == f"4,{answers[0]['forecast']['load'][0]}"
    path.write_text("\n".join(["when,temp,load", *rows[:3]]) + "\n")
    code, _, error = predict(capsys, runs["series"], f"--input={path}")
    assert (code, "got 3 rows, expected 4 or more" in error) == (2, True)
    code, _, error = predict(capsys, runs["text"], "--rolling", f"--input={path}")
    assert (code, "got a run of text, expected a run of series" in error) == (2, True)


def test_the_record_says_what_was_read(runs):
    record = json.loads((runs["series"] / "preprocessing.json").read_text())["source"]
    assert record == {
        "reads": ["temp", "load"],
        "left_out": {"when": "words"},
        "notes": [],
        "predicts": ["load"],
        "rows_read": 60,
        "examples": {"train": 32, "valid": 8, "test": 8},
    }


HOSTILE = "x\x1b[2J\x1b]0;mine\x07\x9b2J\u202e"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    ("arguments", "exact"),
    [
        (["predict"], False),
        (["predict", "--format=csv"], True),
        (["generate"], True),
    ],
)
def test_a_foreign_run_controls_no_terminal(tmp_path, monkeypatch, arguments, exact, terminal):
    task = SimpleNamespace(name="text", source_vocabulary=None)
    trained = SimpleNamespace(spec=SimpleNamespace(task=task))
    (tmp_path / "run.json").write_text("{}")
    answer = {"label": HOSTILE, "probabilities": {HOSTILE: 1.0}}
    monkeypatch.setattr("lstm_lab.cli.inference.load_trained", lambda *_: trained)
    monkeypatch.setattr("lstm_lab.inference.predict.predict_lines", lambda *_: iter([answer]))
    monkeypatch.setattr("lstm_lab.inference.generate.generate", lambda *_: iter([HOSTILE]))
    output = io.StringIO()
    output.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", output)
    assert main([*arguments, f"--workdir={tmp_path}"]) == 0
    printed = output.getvalue()
    # Another program gets the characters of the run: in JSON as escapes, which mean the same.
    controlled = exact and not terminal
    assert any(c in printed for c in "\x1b\x07\x9b\u202e") == controlled
    assert (HOSTILE in printed) == controlled
    if not exact:
        assert json.loads(printed) == answer


def test_explain_writes_a_page_and_prints_what_it_found(runs, tmp_path, capsys):
    folder = runs["series"]
    flags = ["--analyses=gradient,lesions", f"--out={tmp_path / 'page'}"]
    assert main(["explain", str(folder), *flags]) == 0
    out = capsys.readouterr().out
    assert "Gradient by lag: " in out
    assert "Lesions of gates: With a gate fixed to its mean, validation mse changes" in out
    assert out.splitlines()[-1] == str(tmp_path / "page" / "explain.html")
    assert (tmp_path / "page" / "explain.html").stat().st_size > 10_000
    assert main(["explain", f"--workdir={folder}", "--analyses=lyapunov"]) == 0
    record = json.loads((folder / "explain" / "explain.json").read_text())
    assert list(record["results"]) == ["lyapunov"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--analyses=lyapunow"], "--analyses: got 'lyapunow'; did you mean 'lyapunov'?"),
        (["--workdir=elsewhere"], "RUN: got"),
        (["--run=abc"], "is not a study"),
    ],
)
def test_explain_refuses_wrong_flags_in_one_line(runs, flags, message, capsys):
    assert main(["explain", str(runs["series"]), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_card_writes_the_card_and_prints_its_path(runs, tmp_path, capsys):
    folder = runs["text"]
    assert main(["card", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'MODEL_CARD.md'}\n"
    out = tmp_path / "README.md"
    assert main(["card", f"--workdir={folder}", f"--out={out}"]) == 0
    assert out.read_text() == (folder / "MODEL_CARD.md").read_text()
    assert 'run.predict(["a text", "another text"])' in out.read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=elsewhere"], "RUN: got"),
        (["--run=abc"], "is not a study"),
        (["--out=."], "out: . is a folder, expected a file, e.g. README.md"),
    ],
)
def test_card_refuses_wrong_flags_in_one_line(runs, flags, message, capsys):
    assert main(["card", str(runs["text"]), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
