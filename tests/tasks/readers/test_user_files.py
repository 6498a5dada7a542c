"""One command trains on a user's file; an error in the file is reported in one line."""

import gzip

import pytest

from lstm_lab.cli import main
from lstm_lab.cli.settings import spec_of
from lstm_lab.config.load import load_spec
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from tests.helpers.paths import ROOT

REVIEWS = "text,label\n" + 'a great film,good\n\n"dull, dull, dull",bad\n' * 12
WORDS = "the O\ncat B-animal\n\nin O\nnew B-city\nyork I-city\n\n" * 8
STEPS = "when,load,heat\n" + "".join(f"{k},{k % 7},{k % 5}\n" for k in range(200))
BEATS = "".join(f"{k % 2},{k},{k + 1},{k + 2},{k - 3}\n" for k in range(30))
LOANS = "job,age,risk\n" + "".join(f"{'ab'[k % 2]},{20 + k},{k % 2}\n" for k in range(30))
SHORT = ("--config.train.epochs=1", "--config.model.hidden=4", "--devices=4")


def run(config, path, tmp_path, *flags):
    command = f"--config={ROOT / 'configs' / config}:{path}"
    return main(["train", command, f"--workdir={tmp_path / 'run'}", *SHORT, *flags])


@pytest.mark.parametrize(
    ("config", "name", "content", "metric"),
    [
        ("imdb.py", "reviews.csv", REVIEWS, "accuracy"),
        ("imdb.py", "reviews.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n' * 9,
         "accuracy"),
        ("tags.py", "words.conll", WORDS, "span_f1"),
        ("characters.py", "poem.txt", "春眠不覺曉\n處處聞啼鳥\n" * 90, "bits"),
        ("ptb.py", "words.txt", "to be or not to be\n" * 150, "perplexity"),
        ("series.py", "load.csv", STEPS, "mase"),
        ("heartbeats.py", "beats.csv", BEATS, "macro_f1"),
        ("credit.py", "loans.csv", LOANS, "auc"),
    ],
)  # fmt: skip
def test_one_command_trains_on_a_users_file(tmp_path, capsys, config, name, content, metric):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert run(config, path, tmp_path) == 0
    result = read_json(tmp_path / "run" / "result.json")
    assert metric in result["test"]
    assert result["trivial"]["constant"]
    printed = capsys.readouterr()
    assert "trivial" in printed.out
    texts = ("imdb.py", "tags.py", "characters.py", "ptb.py")
    assert ("unknown with" in printed.err) == (config in texts)


COLUMNS = "1 the X O\n2 cat Y B-animal\n3 big Y I-animal\n\n" * 9


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"scheme": None, "labels": ("B-animal", "I-animal", "O"), "vocabulary": 4}),
        ({"scheme": "IOB1"}, {"scheme": "IOB1", "metric": "span_f1"}),
        ({"scheme": "none"}, {"scheme": "none", "metric": "accuracy"}),
        ({"word_column": "3"}, {"vocabulary": 3}),
        ({"tag_column": "3"}, {"labels": ("X", "Y"), "metric": "accuracy"}),
        ({"tag_column": "5"}, "task.tag_column: got 5, but .* has 4 columns"),
    ],
)
def test_settings_of_the_command_line_say_how_tags_are_read(tmp_path, settings, expected):
    path = tmp_path / "a.conll"
    path.write_text(COLUMNS)
    given = {f"task.{name}": value for name, value in settings.items()}
    config = f"{ROOT / 'configs' / 'tags.py'}:{path}"
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            spec_of(config, given)
        return
    task = spec_of(config, given).task
    assert {name: getattr(task, name) for name in expected} == expected
    task.load(tmp_path)


def test_a_missing_file_is_named_with_a_similar_one_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\n")
    (tmp_path / "my_cells.py").write_text("")
    for config, setting, name, meant in (
        ("imdb:reviews.cvs", "data", "reviews.cvs", "reviews.csv"),
        ("adding:my_cell.py:mine", "model.cell", "my_cell.py", "my_cells.py"),
        ("my_cell.py", "config", "my_cell.py", "my_cells.py"),
    ):
        with pytest.raises(UserError, match=f"^{setting}: {name} does not exist.*mean '{meant}'"):
            load_spec(config)
    with pytest.raises(UserError, match="other.csv does not exist, neither here nor in [^;]*$"):
        load_spec("imdb:other.csv")


def test_the_share_of_unknown_source_words_is_shown(tmp_path):
    for name, en, de in (("a", "a day\n" * 30, "ein Tag\n" * 30), ("b", "odd day\n", "ein Tag\n")):
        (tmp_path / f"{name}.en").write_text(en)
        (tmp_path / f"{name}.de").write_text(de)
    files = ",".join(str(tmp_path / name) for name in ("a.en", "a.de", "b.en", "b.de"))
    data = load_spec(f"translation:{files}").task.load(tmp_path)
    note = "unknown with 3 source words: 0.0% of train, 0.0% of valid, 50.0% of test"
    assert data.source == {"notes": [note]}


def test_settings_of_the_command_line_say_how_translations_are_read(tmp_path):
    for name in ("a.en", "a.de"):
        (tmp_path / name).write_text("".join(f"wort{k} und wort{k + 1}\n" for k in range(400)))
    config = f"{ROOT / 'configs' / 'translation.py'}:{tmp_path / 'a.en'},{tmp_path / 'a.de'}"
    tasks = [
        spec_of(config + word, given).task
        for word, given in (
            ("", {}),
            ("", {"task.unit": "subword"}),
            (",subword", {}),
            (",subword", {"task.unit": "word"}),
            ("", {"task.vocabulary": "350"}),
        )
    ]
    assert [task.unit for task in tasks] == ["word", "subword", "subword", "word", "subword"]
    # As many as the files have, and not the 403 words.
    assert tasks[1].source_vocabulary == tasks[2].source_vocabulary != tasks[0].source_vocabulary
    assert tasks[4].vocabulary == 350
    tasks[1].load(tmp_path)


def test_a_zipped_conll_file_in_utf_16_is_read(tmp_path):
    path = tmp_path / "a.conll.gz"
    path.write_bytes(gzip.compress(WORDS.encode("utf-16")))
    labels = spec_of(f"{ROOT / 'configs' / 'tags.py'}:{path}", {}).task.labels
    assert labels == ("B-animal", "B-city", "I-city", "O")
    path.write_bytes(gzip.compress(b"the O\ncat\0 O\n"))
    with pytest.raises(UserError, match="line 2 is not a text: it has a NUL character"):
        spec_of(f"{ROOT / 'configs' / 'tags.py'}:{path}", {})


def test_a_chinese_text_is_continued(tmp_path, capsys):
    path = tmp_path / "poem.txt"
    path.write_text("春眠不覺曉\n處處聞啼鳥\n夜來風雨聲\n花落知多少\n" * 90, encoding="utf-8")
    config = f"--config={ROOT / 'configs' / 'characters.py'}:{path}"
    flags = (
        "--config.model.hidden=24",
        "--config.train.batch_size=8",
        "--config.train.epochs=80",
        "--config.optim.lr=0.02",
    )
    folder = f"--workdir={tmp_path / 'run'}"
    assert main(["train", config, folder, *flags, "--devices=4"]) == 0
    capsys.readouterr()
    command = ["generate", folder, "--prompt=春眠", "--length=21", "--temperature=0"]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == "春眠不覺曉\n處處聞啼鳥\n夜來風雨聲\n花落知多少"


def test_a_pair_of_files_is_translated(tmp_path, capsys):
    pair = tmp_path / "a.en", tmp_path / "a.de"
    pair[0].write_text("a dog runs\na man sits\n" * 20)
    pair[1].write_text("ein hund rennt\nein mann sitzt\n" * 20)
    flags = ("--config.model.embedding=4", "--config.train.batch_size=4")
    assert run("translation.py", f"{pair[0]},{pair[1]}", tmp_path, *flags) == 0
    result = read_json(tmp_path / "run" / "result.json")
    assert {"perplexity", "bleu"} <= set(result["test"])
    capsys.readouterr()
    (tmp_path / "in.txt").write_text("a dog sits\n")
    command = ["predict", f"--workdir={tmp_path / 'run'}", f"--input={tmp_path / 'in.txt'}"]
    assert main([*command, "--beam=2"]) == 0
    assert capsys.readouterr().out.startswith('{"text": ')
    pair[1].write_text("ein hund\n")
    assert run("translation.py", f"{pair[0]},{pair[1]}", tmp_path) == 2
    assert "has 40 lines and" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "name", "content", "message"),
    [
        ("imdb.py", "a.csv", b"review,label\nx,1\n", "no column 'text', and it is not clear which"),
        ("imdb.py", "a.csv", b"text,label\nx,1\n", "has the label '1' alone"),
        ("imdb.py", "a.csv", "text,label\nété,1\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("imdb.py", "a.csv", b"", "a.csv is empty"),
        ("characters.py", "a.txt", b"x", "leaves train 1 symbols of 2"),
        ("characters.py", "a.txt", "abc\nété".encode() + b"\xe9", "line 2 is not UTF-8"),
        ("tags.py", "a.conll", b"the\n", "line 1 has 'the' and no tag"),
        (
            "series.py",
            "a.csv",
            b"when,load\nmay,1\njune,x\n",
            "line 3 column 'load': got 'x', expected a finite number",
        ),
        ("series.py", "a.csv", b"when\nmay\n", "line 2 has no numbers"),
        (
            "heartbeats.py",
            "a.csv",
            b"1,2,3\n1,2\n",
            "line 2 has 2 values, expected 3 as in",
        ),
        (
            "credit.py",
            "a.csv",
            b"a,b,c\n1,2\n",
            "line 2 has 2 values, expected 3 as in the header",
        ),
        ("imdb.py", "nowhere.csv", None, "nowhere.csv does not exist"),
    ],
)
def test_an_invalid_file_gives_one_error_line(tmp_path, capsys, config, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert run(config, path, tmp_path) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
