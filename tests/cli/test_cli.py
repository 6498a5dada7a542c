"""The command line: exit codes, one-line errors, and no partial output after an error."""

import re
from pathlib import Path

import pytest

from lstm_lab import cli
from lstm_lab.utils.files import read_json
from tests.helpers.data import write_samples
from tests.helpers.paths import ROOT

TINY = ["--config.train.steps=4", "--config.train.eval_every=2", "--config.model.hidden=3"]
TINY += ["--config.task.length=6", "--config.task.valid_size=9", "--config.task.test_size=9"]
ADDING = f"--config={ROOT}/configs/adding.py"
ALL = ["reproduce", "--all", "--dry-run"]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs the command line in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSTM_LAB_DATA", raising=False)

    def call(*argv):
        code = cli.main(list(argv))
        out, error = capsys.readouterr()
        return code, out, error

    return call


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "verb: got 'trian'; did you mean 'train'.? expected one of bench"),
        (["train"], "--config is required"),
        (["train", "--config=no.py"], "config: no.py does not exist"),
        (["train", ADDING + ":peepole"], "config: variant: got 'peepole'.*did you mean"),
        (["train", ADDING, "--config.model.hiden=3"], "did you mean 'hidden'"),
        (["train", ADDING, "--config.model.hidden=x"], "got 'x', expected a whole number"),
        (["train", ADDING, "--config.model.hidden=0"], "got 0, expected 1 or more"),
        (["train", ADDING, "--config.model.cell=ltsm"], "model.cell: .*'ltsm'"),
        (["train", ADDING, "--config.task.name=sum"], "task.name: got 'sum'"),
        (["train", ADDING, "--sedes=3"], "train: flag: got '--sedes'; did you mean '--seeds'"),
        (["train", "adding", "--epochs=3"], "did you mean --config.train.epochs=VALUE"),
        (["train", "adding", "--optim.lr=3"], "did you mean --config.optim.lr=VALUE"),
        (
            ["train", ADDING, "--seeds=2", "--hosts=0/2@127.0.0.1:1"],
            "--seeds: got 2, expected none with --hosts: several hosts train one run",
        ),
        (["train", ADDING, "--seeds=0"], "--seeds: got 0, expected 1 or more"),
        (["train", ADDING, "--stream"], "flag: got '--stream'"),
        (["train", ADDING, "--dry_run"], "flag: got '--dry-run'"),
        (["train", ADDING, "--seeds=many"], "--seeds: got 'many', expected a whole number"),
        (["train", "adding", ADDING], "config: got 'adding' and --config=.*expected one of both"),
        (["train", "adding", "now"], "got 'now', which is one argument too many; words of a"),
        (["train", "adding", "optim.lr=1"], "did you mean --config.optim.lr=1"),
        (["train", "adding", "--config", "optim.lr=1"], "did you mean --config.optim.lr=1"),
        (["train", "--config=lr=1"], "got --config lr=1; did you mean --config.optim.lr=1"),
        (["train", "adding", "--conifg.optim.lr=1"], "did you mean --config.optim.lr=VALUE"),
        (["train", "r.csv"], "a file of data; did you mean imdb:r.csv .*series:r.csv .forecasts"),
        (["summary", "d/r.txt.gz"], "did you mean characters:d/r.txt.gz .* or ptb:d/r.txt.gz"),
        (["train", "adding", "steps=1"], "did you mean --config.train.steps=1"),
        (["train", "adding", "--seed=1"], "did you mean --config.seed=VALUE or --seeds"),
        (["train", "adding", "--learning-rate=1"], "did you mean --config.optim.lr=VALUE"),
        (["compare", "lstm", "gru"], "did you mean --against=gru"),
        (["show", "my_cell.py:mine"], "of a cell in a file, --kernel shows the code"),
        (["sweep", "counters", "runs/mine"], "did you mean --workdir=runs/mine"),
        (["doctor", "now"], "one argument too many; lstm-lab doctor --help explains"),
        (["train", "ading"], "config: got 'ading'; did you mean 'adding'"),
        (["train", "configs/adding.py"], "does not exist; did you mean 'adding'"),
        (["train", "adding:peepole"], "variant: got 'peepole'.*did you mean 'peephole'"),
        (["train", "adding", "--config.task.name=my.py:Task"], "task.name: my.py does not exist"),
        (["train", "adding", "--log=wanbd"], "log: got 'wanbd'; did you mean 'wandb'"),
        (["train", "adding", "--log=my.py:Mine"], "log: my.py does not exist"),
        (
            ["sweep", "counters", "--log=tensorboard"],
            "TensorBoard is always written; leave it out",
        ),
        (["sweep", "counters", "--jobs=2", "--log=aimm"], "log: got 'aimm'; did you mean 'aim'"),
        (["reproduce", "counters", "--log=x"], "log: got 'x', expected one of wandb"),
        (["compare", "gru", "--log=x"], "log: got 'x', expected one of wandb"),
        (["sweep", "digits_ablatio"], "study: got 'digits_ablatio'; did you mean"),
        (["sweep", "digits_ablation", "--launcher=slrum"], "did you mean 'slurm'"),
        (["sweep", "digits_ablation", "--config.optim.lr=1"], "settings of a study"),
        (["sweep", "counters", "--std=1.0"], "--std: got 1.0, expected --dry-run as well"),
        (["reproduce", "counters", "--difference=2"], "--difference: got 2.0, expected --std"),
        (["sweep", "counters", "--dry-run", "--difference=2"], "--difference: got 2.0, expected"),
        *(
            ([*ALL, flag], f"reproduce: {name}: got .*, expected no {name} with --all")
            for flag, name in (
                ("--std=1.0", "--std"),
                ("--trials=3", "--trials"),
                (f"--results={ROOT}/README.md", "--results"),
                ("--jobs=2", "--jobs"),
                ("--workdir=there", "--workdir"),
                ("--rerun=failed", "--rerun"),
                ("--log=wandb", "--log"),
                ("--emit=commands", "--emit"),
                ("--launcher=slurm", "--launcher"),
            )
        ),
        (["reproduce"], "reproduce: NAME is required"),
        (["list", "variant"], "did you mean 'variants'"),
        (["show", "peepole"], "show: got 'peepole'; did you mean 'peephole'"),
        (["config", "shwo"], "config verb: got 'shwo'; did you mean 'show'"),
        (["predict", "--workdir=none"], "none does not exist"),
        (["data", "get", "mnits"], "data: got 'mnits'; did you mean 'mnist'"),
        (["data", "get"], "NAME... is required"),
        (["data", "prepare", "imdb", "none.tar.gz"], "data: none.tar.gz does not exist"),
        (["sweep"], "--study is required"),
        (["sweep", "--study=none.py"], "study: none.py does not exist"),
        (["sweep", f"--study={ROOT}/configs/adding.py"], "has no get_study"),
        (["status"], "FOLDER is required: the folder of a run or a study, e.g. lstm-lab status"),
        (["status", "a", "--workdir=b"], "FOLDER: got 'a' and --workdir=b, expected one of both"),
        (["report"], "FOLDER is required"),
        (["report", "a", "--workdir=b"], "FOLDER: got 'a' and --workdir=b, expected one of both"),
        (["report", "none"], "none does not exist"),
        (["predict"], "RUN is required"),
        (["predict", "none"], "none does not exist"),
        (["generate", "none"], "none does not exist"),
        (["pack", "--out=a.gz"], "STUDY is required: the folder of a study"),
        (["status", "--workdir=none"], "holds neither a study nor a run"),
        (["report", "--workdir=none"], "none does not exist"),
        (["summary", "--config=x.json"], "x.json is not a run.json"),
    ],
)
def test_wrong_usage_prints_one_line_and_exits_with_2(run, argv, message, tmp_path):
    code, out, error = run(*argv)
    assert code == 2
    assert out == ""
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("lstm-lab: ")
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_a_users_logger_gets_a_run_and_is_named_to_workers_by_its_path(run):
    Path("mine.py").write_text(
        "class Mine:\n"
        "    def start(self, run):\n"
        "        print(run.label.title)\n\n"
        "    def log(self, step, values):\n"
        "        print('step', step, sorted(values))\n\n"
        "    def figure(self, step, name, image):\n"
        "        pass\n\n"
        "    def end(self, status, metrics):\n"
        "        print(status)\n\n\n"
        "class Other(Mine):\n"
        "    pass\n"
    )
    code, out, _ = run("train", ADDING, *TINY, "--log=mine.py:Mine")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "adding, lstm, seed 0"
    assert "step 2 ['valid/mae', 'valid/mse']" in lines
    assert lines.index("completed") > lines.index("step 4 ['valid/mae', 'valid/mse']")
    code, out, _ = run("sweep", "counters", "--emit=commands", "--log=mine.py:Mine,mine.py:Other")
    assert code == 0
    here = Path("mine.py").absolute()
    assert f"--log={here}:Mine,{here}:Other" in out


def test_missing_or_damaged_data_creates_no_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LAB_MIRROR", "http://127.0.0.1:9")
    jsb_config = f"--config={ROOT}/configs/jsb.py"
    study = tmp_path / "study.py"
    study.write_text(
        "from lstm_lab.configs import jsb\nfrom lstm_lab.studies import Study\n"
        "def get_study():\n    return Study('s', jsb.get_config(), (), (0, 1))\n"
    )
    data = tmp_path / "data"
    data.mkdir()
    for message in ("is missing and its download failed", "is not a readable .mat"):
        for argv in (["train", jsb_config], ["sweep", f"--study={study}"]):
            code, _, error = run(*argv, f"--data_dir={data}", "--workdir=w")
            assert code == 2
            assert message in error
            assert not Path("w").exists()
        (data / "jsb").mkdir(exist_ok=True)
        (data / "jsb" / "JSB_Chorales.mat").write_bytes(b"MATLAB 5.0 MAT-file, and no more")


def test_train_keeps_a_finished_run_and_repeats_it_from_run_json(run):
    code, out, _ = run("train", ADDING, *TINY, "--workdir=a")
    assert code == 0
    assert re.search(r"test +0\.\d{5}", out)
    result = read_json(Path("a/result.json"))
    again = run("train", ADDING, *TINY, "--workdir=a")
    assert again[:2] == (0, out)
    code, _, error = run("train", ADDING, *TINY, "--config.seed=3", "--workdir=a")
    assert code == 2
    assert "workdir: a holds another run; it differs in seed: 0, now 3; choose another" in error
    assert read_json(Path("a/result.json")) == result
    code, _, _ = run("train", "--config=a/run.json", "--workdir=b")
    assert code == 0
    rerun = read_json(Path("b/result.json"))
    assert rerun["test"] == result["test"]
    assert read_json(Path("a/run.json"))["overrides"]["model.hidden"] == "3"
    Path("c").mkdir()
    Path("c/notes.txt").write_text("mine")
    code, _, error = run("train", ADDING, *TINY, "--workdir=c")
    assert code == 2
    assert "is not empty and holds no run.json" in error
    Path("c/study.json").write_text("{}")
    code, _, error = run("train", ADDING, *TINY, "--workdir=c")
    assert code == 2
    assert "c holds a study; choose another folder" in error
    code, _, error = run("train", ADDING, *TINY, "--workdir=c/notes.txt")
    assert code == 2
    assert "is not a folder" in error
    Path("plain.py").write_text("def get_config():\n    return {}\n")
    code, _, error = run("train", "--config=plain.py:peephole")
    assert code == 2
    assert "get_config does not run" in error
    Path("d").mkdir()
    Path("d/.run.json.123").write_text("{half")
    assert run("train", ADDING, *TINY, "--workdir=d")[0] == 0


def test_several_seeds_run_as_a_study(run):
    code, out, _ = run("train", ADDING, *TINY, "--seeds=3", "--workdir=s")
    assert code == 0
    assert "3 completed" in out
    assert len(read_json(Path("s/study.json"))["cohorts"]) == 1
    assert len(list(Path("s/runs").glob("*/result.json"))) == 3
    code, out, _ = run("status", "--workdir=s")
    assert code == 0
    assert "3 completed" in out


def test_a_run_that_diverges_exits_with_1(run):
    code, out, _ = run("train", ADDING, *TINY, "--config.optim.lr=1e30", "--config.optim.clip=none")
    assert code == 1
    assert "diverged" in out
    # The command that is offered works.
    command = re.search(r"lstm-lab (train \S+ \S+ --replay=\d+)", out)
    assert command is not None
    code, out, _ = run(*command[1].split())
    assert code == 0
    assert "not finite" in out


def test_a_users_cell_trains_and_its_source_is_saved(run, tmp_path):
    source = (
        "import dataclasses\nfrom lstm_lab.cells import GATED_LSTM, CellSpec\n"
        "mine = CellSpec(gates='io', coupled=True, forget_bias=1.0)\n"
    )
    Path("my_cell.py").write_text(source)
    code, _, _ = run("train", ADDING, *TINY, "--config.model.cell=my_cell.py:mine", "--workdir=w")
    assert code == 0
    assert Path("w/cell.py").read_text() == source
    assert read_json(Path("w/run.json"))["spec"]["cell_sha256"]
    Path("my_cell.py").write_text(source.replace("1.0", "2.0"))
    again = ("train", "--config=w/run.json", "--workdir=v")
    code, _, error = run(*again)
    assert code == 2
    assert "w/run.json names the code of my_cell.py:mine" in error
    code, _, error = run(*again, "--trust-code")
    assert code == 2
    assert "has changed since that run" in error
    assert run(*again, "--config.model.cell=lstm")[0] == 0


def test_dry_run_writes_nothing(run, tmp_path):
    code, out, _ = run("sweep", f"--study={ROOT}/experiments/digits_ablation.py", "--dry_run")
    assert code == 0
    assert "and 52 more" in out
    assert "72 runs in 12 cohorts, about 12 programs" in out
    assert "60 runs" in out
    assert list(tmp_path.iterdir()) == []


def test_summary_reports_the_expected_parameter_counts(run):
    table = {
        "vanilla": "84,788",
        "nig": "65,788",
        "nfg": "65,788",
        "nog": "65,788",
        "niaf": "84,788",
        "noaf": "84,788",
        "cifg": "65,788",
        "np": "84,488",
        "fgr": "174,788",
    }
    for name, count in table.items():
        argv = [f"--config={ROOT}/configs/jsb.py:{name}", "--config.model.hidden=100"]
        code, out, _ = run("summary", *argv)
        assert code == 0
        assert count in out.splitlines()[-3]
    _, out, _ = run("summary", f"--config={ROOT}/configs/tutorial.py")
    assert "11,416,577" in out


def test_help_exits_with_0_and_no_verb_with_2(run):
    assert run("help")[0] == 0
    assert run()[0] == 2


def test_jsb_trains_on_a_mat_file(run, tmp_path):
    write_samples(tmp_path / "data")
    argv = [f"--config={ROOT}/configs/jsb.py:np,stacked", "--config.train.epochs=2"]
    argv += ["--config.model.hidden=4", f"--data_dir={tmp_path / 'data'}", "--workdir=w"]
    code, out, _ = run("train", *argv, "--config.train.batch_size=2")
    assert code == 0
    assert "nll" in out
