"""Study folders in the format that a sweep writes, for the tests of reports."""

from lstm_lab.utils.files import write_json, write_lines

SCORES = {
    "np": [0.94, 0.95, 0.93, 0.94, 0.95],
    "nfg": [0.89, 0.88, 0.90, 0.89, 0.90],
    "rnn": [0.5, 0.6],
    "a|b": [],
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
