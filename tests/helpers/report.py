"""Studies for the tests of reports: folders in the format that a sweep writes, and their runs."""

from collections import Counter

from lstm_lab.report.runs import RunRow, StudyRuns
from lstm_lab.utils.files import read_json, write_json, write_lines

SCORES = {
    "np": [0.94, 0.95, 0.93, 0.94, 0.95],
    "nfg": [0.89, 0.88, 0.90, 0.89, 0.90],
    "rnn": [0.5, 0.6],
    "a|b": [],
}
RANGES = {
    "optim.lr": {
        "kind": "LogUniform",
        "low": 1e-4,
        "high": 1.0,
        "integer": False,
        "one_minus": False,
    },
    "noise": {"kind": "Uniform", "low": 1.0, "high": 3.0},
    "cell": {"kind": "Choice", "values": ["a", "b"]},
}


def write_study(folder, name, scores, direction="min"):
    """Writes the folder of a study of final runs: scores by variant, one per seed."""
    runs = {}
    for variant, values in scores.items():
        for seed, value in enumerate(values):
            run = f"{variant}{seed}"
            runs[run] = {"variant": variant, "stage": "final", "seed": seed, "point": {}}
            result = {"status": "completed", "test": {"mse": float(value)}, "wall_s": 1.0}
            best = {"step": 1, "valid": {"mse": float(value)}}
            write_json(folder / "runs" / run / "result.json", {**result, "best": best})
    declared = {
        "name": name,
        "title": name,
        "variants": {variant: {} for variant in scores},
        "seeds": list(range(len(next(iter(scores.values()))))),
        "baseline": next(iter(scores)),
        "metric": "mse",
        "direction": direction,
        "tuning": None,
        "top": 0.1,
        "claims": [],
    }
    write_json(
        folder / "study.json", {"study": declared, "runs": runs, "cohorts": {}, "chosen": {}}
    )
    return folder


def write_example_study(folder):
    """Writes a study with a clear winner, diverged runs (rnn) and missing runs (a|b)."""
    runs = {}
    for variant, scores in SCORES.items():
        for seed in range(5):
            run = f"{variant}{seed}".replace("|", "_")
            runs[run] = {"variant": variant, "stage": "final", "seed": seed, "point": {}}
            run_folder = folder / "runs" / run
            if seed >= len(scores):
                if variant == "rnn":
                    result = {"status": "diverged", "test": {}, "best": {"step": 0, "valid": {}}}
                    write_json(run_folder / "result.json", result)
                continue
            write_json(
                run_folder / "result.json",
                {
                    "status": "completed",
                    "test": {"accuracy": scores[seed], "auc": 0.5 + 0.1 * seed},
                    "trivial": {"constant": {"accuracy": 0.25}},
                    "best": {"step": 20, "valid": {"accuracy": 0.9}},
                    "parameters": 100,
                    "wall_s": 1.5,
                },
            )
            rows = [{"step": s, "split": "valid", "accuracy": 0.1 * s} for s in (1, 2, 3)]
            write_lines(run_folder / "metrics.jsonl", rows)
    study = {
        "name": "by_hand",
        "title": "By hand",
        "variants": {name: {} for name in SCORES},
        "seeds": list(range(5)),
        "baseline": "np",
        "metric": "accuracy",
        "direction": "max",
        "tuning": None,
        "top": 0.1,
        "claims": [{"kind": "better", "better": "np", "worse": "nfg", "alpha": 0.05}],
    }
    plan = {"study": study, "runs": runs, "cohorts": {}, "chosen": {}}
    write_json(folder / "study.json", plan)


def crossing_study(folder, scores, direction="max"):
    """Writes a study of cells on tasks: scores by cell, one list for each task."""
    by_variant = {f"{cell}{k}": v for cell, lists in scores.items() for k, v in enumerate(lists)}
    write_study(folder, "crossing", by_variant, direction)
    plan = read_json(folder / "study.json")
    plan["study"]["variants"] = {
        f"{cell}{k}": {"task.length": k, "model.cell": cell}
        for cell, lists in scores.items()
        for k in range(len(lists))
    }
    plan["study"]["seeds"] = list(range(max(map(len, by_variant.values()))))
    plan["study"]["baseline"] = None
    write_json(folder / "study.json", plan)
    return folder


def write_curves(folder, curves):
    """Writes a study whose runs have these curves: (step, value) of each seed, by variant."""
    write_study(folder, "s", {name: [1.0] * len(of_runs) for name, of_runs in curves.items()})
    for name, of_runs in curves.items():
        for seed, curve in enumerate(of_runs):
            rows = [{"step": step, "split": "valid", "mse": value} for step, value in curve]
            write_lines(folder / "runs" / f"{name}{seed}" / "metrics.jsonl", rows)
    return folder


def study(runs=(), due=None, **options):
    """Returns a study without a folder; all of its trials are planned, if it has some."""
    trials = Counter(run.variant for run in runs if run.stage == "tuning")
    variants = {name: {} for name in ["np", *(run.variant for run in runs)]}
    tuning = {"ranges": RANGES, "seeds": None, "points": {name: trials[name] for name in variants}}
    declared = {"direction": "min", "variants": variants, "seeds": [], "top": 0.1, "tuning": tuning}
    declared |= {"metric": "nll"} | options
    return StudyRuns(declared, {}, list(runs), len(runs), due or {})


def row(
    stage="final",
    seed=0,
    point=None,
    status="completed",
    valid=1.0,
    test=1.0,
    test_metrics=None,
    variant="np",
):
    """Returns a run of such a study."""
    return RunRow(
        id=str(seed),
        variant=variant,
        stage=stage,
        seed=seed,
        point=point or {},
        status=status,
        reason="",
        valid=valid,
        test=test,
        test_metrics=test_metrics or {},
        trivial={},
        best_step=0,
        parameters=1,
        wall_s=1.0,
        flops=None,
        curve=[],
    )
