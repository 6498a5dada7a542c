"""The bench: worker processes, Markdown tables, and the timings from which `auto` chooses."""

import json

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.bench import errors
from lstm_lab.bench import run as bench
from lstm_lab.bench.cases import SUITES, Case, cases
from lstm_lab.bench.contenders import ALL, default_contenders, numbers
from lstm_lab.bench.jax_peers import layer
from lstm_lab.bench.table import markdown
from lstm_lab.bench.timings import update_timings
from lstm_lab.bench.workloads import build, serves
from lstm_lab.cli import main
from lstm_lab.utils.progress import Meter

SMALL = {"B": 4, "T": 6, "D": 5, "H": 8}
NO_POPULATION = ("forward", "gradient", "classifier")


@pytest.fixture(autouse=True)
def restore_jax_settings():
    """Restores settings of JAX that a contender changes in its own process."""
    with jax.numpy_rank_promotion("allow"):
        yield
    jax.config.update("jax_default_matmul_precision", None)


@pytest.mark.parametrize("work", ["forward", "gradient", "classifier", "population"])
@pytest.mark.parametrize(
    "name", ["lstm_lab", "lstm_lab bf16", "lstm_lab fp32", "lstm_lab in turn", "flax", "floor"]
)
def test_every_contender_runs_every_workload(name, work):
    case = Case(work, **SMALL, members=4 if work == "population" else 1)
    if serves(name, case):
        build(name, case)()
    else:
        assert (name, work) in (
            ("floor", "classifier"),
            *(("lstm_lab in turn", w) for w in NO_POPULATION),
        )


def test_contender_names_select_the_number_format():
    assert numbers("lstm_lab cudnn") == numbers("torch") == ("float32", False)
    assert numbers("torch fp32") == ("float32", True)
    case = Case("forward", **SMALL)
    for name, dtype in (("lstm_lab bf16", jnp.bfloat16), ("lstm_lab fp32", jnp.float32)):
        params, apply = layer(name, case)
        assert apply(params, jnp.ones((4, 6, 5)), None).dtype == dtype


def test_backends_run_only_the_cases_they_support():
    def supporting(cell):
        case = Case("gradient", **SMALL, cell=cell)
        return [
            name.split()[1] for name in default_contenders("backends", "cpu") if serves(name, case)
        ]

    assert supporting("lstm") == supporting("gru") == ["scan", "fused", "native"]
    assert supporting("layernorm") == ["scan", "fused"]
    assert supporting("minlstm") == ["scan", "fused", "associative"]
    assert not serves("flax", Case("gradient", **SMALL, cell="vanilla"))


def test_suites_depend_on_the_platform():
    for suite in SUITES:
        assert set(default_contenders(suite, "cpu")) | set(default_contenders(suite, "gpu")) <= set(
            ALL
        )
        assert cases(suite) != cases(suite, "gpu")
    assert Case("gradient", 16, 1024, 768, 768) in cases("layer", "gpu")
    population = {(case.members, case.H) for case in cases("population", "gpu")}
    assert population == {(M, H) for M in (16, 64, 256, 1024) for H in (32, 64, 128, 256)}


def test_results_replace_the_rows_of_the_same_device(monkeypatch, tmp_path):
    """Runs the processes of two contenders, one of which supports only one of two cases."""
    two_cases = [Case("gradient", **SMALL, cell=cell) for cell in ("lstm", "layernorm")]
    monkeypatch.setattr(bench, "cases", lambda suite, platform: two_cases)
    with Meter(2, "cases") as meter:
        names = ["lstm_lab scan", "lstm_lab native"]
        row_counts = []
        result = bench.run_suite(
            "backends",
            names,
            rounds=2,
            seconds=0.001,
            meter=meter,
            keep=lambda result: row_counts.append(len(result["rows"])),
        )
    assert row_counts == [2, 3]
    assert [(row["label"], row["contender"]) for row in result["rows"]] == [
        ("B 4, T 6, D 5, H 8", "lstm_lab scan"),
        ("B 4, T 6, D 5, H 8", "lstm_lab native"),
        ("layernorm, B 4, T 6, D 5, H 8", "lstm_lab scan"),
    ]
    assert "| layernorm, B 4, T 6, D 5, H 8 |" in markdown(result)
    path = tmp_path / "timings.json"
    other_device = {"platform": "gpu", "device": "another", "rows": []}
    path.write_text(json.dumps({"tables": [other_device]}))
    update_timings(path, result)
    update_timings(path, result)
    other, table = json.loads(path.read_text())["tables"]
    assert other == other_device
    assert (table["platform"], table["device"]) == ("cpu", "cpu")
    assert [row["cell"] for row in table["rows"]] == ["plain", "layer_norm"]
    assert [set(row["ms"]) for row in table["rows"]] == [{"scan", "native"}, {"scan"}]


def test_ratios_are_our_time_over_theirs():
    def row(name, ms):
        case = {"work": "gradient"}
        return {"case": case, "label": "a", "contender": name, "memory_settings": False, "ms": ms}

    machine = {"platform": "gpu", "device": "some GPU", "cpu": "a CPU", "cores": 2}
    machine |= {"python": "3.11", "versions": {"jax": "1"}, "date": "today"}
    for ours in ("lstm_lab", "lstm_lab tf32"):
        rows = [row(ours, [1.0, 2.0, 3.0]), row("torch bf16", [2.0, 2.0, 2.0])]
        text = markdown({"machine": machine, "left_out": [], "rows": rows})
        assert "some GPU in a CPU" in text
        assert "| a | 2 | 2 (1.00; 0.50-1.50) |" in text
    rows = [row("lstm_lab scan", [1.0]), row("lstm_lab fused", [2.0])]
    assert "| a | 1 | 2 |" in markdown({"machine": machine, "left_out": [], "rows": rows})


def test_errors_match_the_precision_of_the_format(monkeypatch):
    two_cases = [Case("gradient", **SMALL, cell=cell) for cell in ("lstm", "gru")]
    monkeypatch.setattr(errors, "cases", lambda: two_cases)
    with Meter(2, "cases") as meter:
        names = ["lstm_lab scan fp32", "lstm_lab native fp32", "lstm_lab fused bf16"]
        result = errors.run_errors([*names, "lstm_lab cudnn fp32"], meter)
    assert [row["contender"] for row in result["rows"]] == 2 * names
    for row in result["rows"]:
        low, high = (1e-4, 5e-2) if "bf16" in row["contender"] else (1e-9, 2e-6)
        assert low < row["outputs"] < high
        assert low < row["gradients"] < high
    assert "| gru, B 4, T 6, D 5, H 8 |" in errors.markdown(result)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suite=layers"], "--suite: got 'layers'"),
        (["--contenders=tensorflow"], "--contenders: got 'tensorflow'"),
        (["--suite=train", "--table=t.json"], "--table: got suite train, expected backends"),
    ],
)
def test_wrong_flags_are_rejected(capsys, flags, message):
    assert main(["bench", *flags]) == 2
    assert message in capsys.readouterr().err
