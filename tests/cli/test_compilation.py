"""The verb `compile` and `sweep --dry-run --target`, for the CPU of this machine."""

import json

import pytest

from lstm_lab.cli import main
from lstm_lab.compilation.targets import find_target
from lstm_lab.studies.plan import own_pool
from lstm_lab.utils.files import read_lines

SMALL = ["--config.task.length=6", "--config.model.hidden=3", "--config.train.steps=4"]
SMALL += ["--config.task.valid_size=9", "--config.task.test_size=9"]

ROW = '{"name": "adding:np", "target": "cpu", "refused": "no data"}\n'

STUDY = """
from lstm_lab.configs import adding
from lstm_lab.studies import Study, grid


def get_study():
    base = adding.get_config("lstm")
    base.task.update({"length": 6, "valid_size": 9, "test_size": 9})
    base.model.hidden = 3
    base.train.update({"steps": 4, "eval_every": 2})
    axes = grid("model.cell", ("np", "gru")), grid("optim.lr", (0.1, 0.01))
    return Study("tiny", base, axes, seeds=(0, 1))
"""


def test_a_run_is_compiled_and_described(capsys):
    assert main(["compile", "adding:gru", "--target=cpu", *SMALL]) == 0
    text = capsys.readouterr().out
    assert "adding gru H=3: 1 run" in text
    assert "all fit cpu" in text


def test_json_is_printed_alone(capsys):
    assert main(["compile", "--config=adding", "--target=cpu", "--seeds=4", "--json", *SMALL]) == 0
    (program,) = json.loads(capsys.readouterr().out)["programs"]
    assert (program["runs"], program["layout"]["lanes"]) == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adding"], "--target is required: cpu, v5e-4"),
        (["--target=cpu"], "compile: got nothing, expected one of CONFIG (lstm-lab list configs)"),
        (["adding", "--study=digits_ablation", "--target=cpu"], "got CONFIG and --study, expected"),
        (["--study=digits_ablation", "--seeds=2", "--target=cpu"], "--seeds: got 2, expected a"),
        (
            ["--study=digits_ablation", "--config.train.batch_size=4", "--target=cpu"],
            "--config.train.batch_size: got 4, expected a CONFIG as well",
        ),
        (
            ["--all", "--out=a.jsonl", "--config.train.bucket", "--target=cpu"],
            "--config.train.bucket: got true, expected a CONFIG as well",
        ),
        (["--study=digits_ablation", "--trust-code", "--target=cpu"], "--trust-code: got True, ex"),
        (["--all", "--target=cpu"], "--all: got no --out, expected --out=FILE as well"),
        (["adding", "--out=a.jsonl", "--target=cpu"], "--out: got a.jsonl, expected --all as well"),
        (["--all", "--out=a.jsonl", "--json", "--target=cpu"], "--json: got --all, expected no"),
        (["adding", "--target=v5e"], "--target: got 'v5e'; did you mean 'v5e-"),
    ],
)
def test_wrong_flags_are_one_line(capsys, arguments, message):
    assert main(["compile", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_target_of_a_sweep_needs_a_dry_run(capsys):
    assert main(["sweep", "digits_ablation", "--target=cpu"]) == 2
    assert "--target: got cpu, expected --dry-run as well" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target=cpu", "--std=0.1"], "--std: got 0.1, expected --dry-run without"),
        (["--target=v5e-4", "--devices=4"], "--devices: got 4, expected none with --target=v5e-4"),
    ],
)
def test_a_target_of_a_sweep_excludes_what_it_would_not_read(capsys, flags, message):
    assert main(["sweep", "digits_ablation", "--dry-run", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_target_of_a_sweep_has_the_devices_of_the_flag(monkeypatch):
    # JAX has started here, so its devices cannot change: the last number would count.
    counts = []
    monkeypatch.setattr("lstm_lab.training.devices.prepare_devices", counts.append)
    monkeypatch.setattr("lstm_lab.cli.studies.compile_study", lambda *_: 0)
    assert main(["sweep", "digits_ablation", "--dry-run", "--target=cpu", "--devices=3"]) == 0
    assert counts == [3, 3]


def test_an_interrupted_survey_continues(monkeypatch, tmp_path, capsys):
    names = ["adding:np", "adding:gru"]
    monkeypatch.setattr("lstm_lab.compilation.survey.survey_names", lambda: names)
    out = tmp_path / "rows.jsonl"
    refused = {"name": "adding:np", "target": "cpu", "compiles": False, "refused": "too large"}
    out.write_text(f"{json.dumps(refused)}\n")
    # What the compiler refused stays refused, and is the reason of the exit code.
    assert main(["compile", "--all", "--target=cpu", f"--out={out}"]) == 1
    assert [row["name"] for row in read_lines(out)] == names
    output = capsys.readouterr()
    assert "adding:gru: compiles" in output.err
    assert "adding:np: " not in output.err
    assert "| adding:np | cpu | too large |" in output.out


@pytest.mark.parametrize("text", ["# Notes\n", '{"a": 1}\n', ROW + "# Notes\n", "\xff\n"])
def test_a_survey_replaces_no_other_file(tmp_path, capsys, text):
    out = tmp_path / "notes.md"
    out.write_bytes(text.encode("latin-1"))
    assert main(["compile", "--all", "--target=cpu", f"--out={out}"]) == 2
    error = capsys.readouterr().err
    assert "notes.md has lines that are no rows of `compile --all`" in error
    assert error.count("\n") == 1
    assert out.read_bytes() == text.encode("latin-1")


def test_a_survey_tries_again_what_had_no_data(monkeypatch, tmp_path):
    monkeypatch.setattr("lstm_lab.compilation.survey.survey_names", lambda: ["adding:np"])
    out = tmp_path / "rows.jsonl"
    others = {"name": "adding:np", "target": "v5e-1", "refused": "no data"}
    out.write_text("".join(f"{json.dumps({**others, 'target': t})}\n" for t in ("v5e-1", "cpu")))
    assert main(["compile", "--all", "--target=cpu", f"--out={out}"]) == 0
    first, second = read_lines(out)
    assert first == others
    assert (second["target"], second["compiles"]) == ("cpu", True)


def test_a_program_that_is_too_large_is_a_failure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("lstm_lab.compilation.survey.survey_names", lambda: ["adding:np"])
    small = find_target("cpu")._replace(pool=own_pool()._replace(memory=1.0))
    monkeypatch.setattr("lstm_lab.compilation.targets.find_target", lambda _: small)
    out = tmp_path / "rows.jsonl"
    assert main(["compile", "--all", "--target=cpu", f"--out={out}"]) == 1
    assert "MiB TOO LARGE |" in capsys.readouterr().out


def test_a_study_is_compiled_program_by_program(tmp_path, capsys):
    path = tmp_path / "tiny.py"
    path.write_text(STUDY)
    assert main(["sweep", str(path), "--dry-run", "--target=cpu"]) == 0
    head, first, second, *_ = capsys.readouterr().out.splitlines()
    assert head.startswith("program")
    # Two learning rates and two seeds share a program; two cells do not.
    assert first.split()[:4] == ["adding", "np", "H=3", "4"]
    assert second.split()[:4] == ["adding", "gru", "H=3", "4"]
