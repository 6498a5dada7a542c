"""SLURM: options and commands; a study on a real cluster if SLURM is installed."""

import pickle
import signal
import subprocess
import sys

import pytest

from lstm_lab.studies.slurm import SlurmWorker, parse_options, worker_command, worker_commands
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.cluster import cluster, command, missing_programs, wait_for
from tests.helpers.paths import ROOT
from tests.helpers.sweep import STUDY_FILE, run_records, start_sweep, wait_for_success
from tests.helpers.training import assert_same_record


def test_options_parse_to_names_and_values():
    assert parse_options("timeout_min=60,slurm_partition=gpu") == {
        "timeout_min": 60,
        "slurm_partition": "gpu",
    }
    assert parse_options("") == {}
    with pytest.raises(UserError, match="got 'gpu', expected name=value"):
        parse_options("timeout_min=60,gpu")


def test_each_worker_gets_one_command_line():
    lines = worker_commands(["--study=a b.py"], 3).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("sweep '--study=a b.py' --worker")


def test_a_job_ends_with_the_exit_code_of_its_worker():
    assert SlurmWorker([sys.executable, "-c", "raise SystemExit(1)"])() == 1
    with pytest.raises(RuntimeError, match="ended with exit code 2"):
        SlurmWorker([sys.executable, "-c", "raise SystemExit(2)"])()
    job = pickle.loads(pickle.dumps(SlurmWorker(worker_command(["--study=s.py"]))))
    assert job.command == worker_command(["--study=s.py"])


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs()), reason=f"needs {', '.join(missing_programs())}")
def test_a_study_survives_a_preemption_on_a_cluster(tmp_path):
    undisturbed = start_sweep(tmp_path, tmp_path / "a", "--devices=1")
    wait_for_success(undisturbed)
    (tmp_path / "s.py").write_text(STUDY_FILE)
    with cluster(tmp_path / "slurm") as environment:
        launch = [sys.executable, "-m", "lstm_lab", "sweep", f"--study={tmp_path / 's.py'}"]
        launch += [f"--workdir={tmp_path / 'b'}", "--launcher=slurm", "--jobs=2"]
        launch += ["--slurm=timeout_min=60,cpus_per_task=1"]
        out = subprocess.run(launch, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        jobs = out.stdout.removeprefix("submitted ").partition(";")[0].split(", ")
        assert len(jobs) == 2

        def trained():
            return any(
                len(read_lines(p)) > 20 for p in (tmp_path / "b").glob("runs/*/metrics.jsonl")
            )

        wait_for(trained, tmp_path / "slurm", 300)
        command(environment, "scancel", f"--signal={signal.Signals.SIGUSR2.name[3:]}", jobs[0])
        wait_for(lambda: not command(environment, "squeue", "-h"), tmp_path / "slurm", seconds=600)
        restarts = command(environment, "scontrol", "show", "job", jobs[0].partition("_")[0])
    assert "Restarts=1" in restarts
    a, b = run_records(tmp_path / "a"), run_records(tmp_path / "b")
    assert a.keys() == b.keys()
    for run in a:
        assert_same_record(a[run], b[run])
    heads = [read_json(path) for path in (tmp_path / "b").glob("runs/*/run.json")]
    assert any(head["resumed_at"] for head in heads)
