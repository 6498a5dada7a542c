"""Several studies: means side by side, and a duel that a renamed baseline cannot win."""

import numpy as np
import pytest

from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import across, build_across, duel
from lstm_lab.report.hypotheses import sign_flip
from lstm_lab.report.runs import read_study
from lstm_lab.utils.files import read_json, write_json


def study(folder, name, scores, direction="min"):
    """Writes a study of final runs by hand: scores by variant, one a seed."""
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


def fought(tmp_path, shifts, seed=0, n=5, names=("base", "mine")):
    """Fights a duel over studies in which the second is so much better, in deviations."""
    rng = np.random.default_rng(seed)
    studies = []
    for k, shift in enumerate(shifts):
        scores = {names[0]: rng.normal(size=n), names[1]: rng.normal(size=n) - shift}
        studies.append(read_study(study(tmp_path / f"{seed}_{k}", f"task {k}", scores)))
    return duel(studies, names[1], names[0])


def test_verdicts(tmp_path):
    assert fought(tmp_path, [2.0] * 4).verdict == "better"
    assert fought(tmp_path, [-2.0] * 4, seed=1).verdict == "worse"
    assert fought(tmp_path, [0.0] * 2, seed=2).verdict == "inconclusive"
    assert fought(tmp_path, [0.0] * 4, seed=6, n=40).verdict == "equivalent"
    # Better on one task and as much worse on another is not better.
    assert fought(tmp_path, [2.0, -2.0], seed=4).verdict == "inconclusive"


def test_a_renamed_baseline_is_equivalent(tmp_path):
    scores = np.random.default_rng(0).normal(size=5)
    folder = study(tmp_path, "same", {"base": scores, "mine": scores})
    found = duel([read_study(folder)], "mine", "base")
    assert found.verdict == "equivalent"
    assert (found.p_better, found.p_worse) == (1.0, 1.0)
    assert found.interval == (0.0, 0.0, 0.0)


def test_sign_flips_are_exact_for_few_pairs():
    """Of eight signs, two make the mean as large: all plus, and the zero's minus."""
    d = np.array([1.0, 2.0, 0.0])
    assert sign_flip([d]) == pytest.approx(2 / 8, abs=0.01)
    assert sign_flip([-d]) == pytest.approx(1.0)
    assert np.isnan(sign_flip([]))


def test_a_duel_of_equals_is_seldom_won():
    """Scores of one distribution, five seeds on six tasks: at most 5 % better, and 5 % worse."""
    rng, duels = np.random.default_rng(5), 400
    won = lost = 0
    for _ in range(duels):
        pairs = rng.normal(size=(6, 2, 5))
        scale = np.sqrt(pairs.var(axis=2, ddof=1).mean(axis=1))
        d = list((pairs[:, 0] - pairs[:, 1]) / scale[:, None])
        won += sign_flip(d, flips=2000) < 0.05
        lost += sign_flip([-one for one in d], flips=2000) < 0.05
    allowed = 0.05 + 3 * np.sqrt(0.05 * 0.95 / duels)
    assert won / duels < allowed
    assert lost / duels < allowed


def test_studies_side_by_side(tmp_path):
    rng = np.random.default_rng(0)
    folders = [
        study(
            tmp_path / str(k),
            f"task {k}",
            {name: m + rng.normal(0, 0.1, 5) for name, m in (("a", 3.0), ("b", 2.0), ("c", 1.0))},
        )
        for k in range(3)
    ]
    found = across([compare(read_study(folder)) for folder in folders])
    assert found.ranks is not None
    assert found.ranks.ranks == {"a": 3.0, "b": 2.0, "c": 1.0}
    assert [round(i.mean) for i in found.means["c"]] == [1, 1, 1]
    text = build_across(folders, tmp_path / "out", "Three tasks")
    assert "mean rank" in text
    assert "Three tasks" in (tmp_path / "out" / "report.html").read_text()
    assert (folders[0] / "report" / "report.html").exists()
    plan = read_json(folders[0] / "study.json")
    assert plan["study"]["name"] == "task 0"
